package config

// checkAdminTokens checks who may call the admin API.
func (l *loader) checkAdminTokens() {
	items := l.server.Get("admin_tokens").list()
	if len(items) != len(l.cfg.Server.AdminTokens) {
		return // one could not be read at all
	}
	names, tokens := map[string]bool{}, map[string]bool{l.cfg.Server.AdminToken.Reveal(): true}
	for i, a := range l.cfg.Server.AdminTokens {
		at := items[i]
		if at.val.kind != mapping {
			continue
		}
		switch {
		case a.Name == "": // said elsewhere
		case !nameForm.MatchString(a.Name):
			l.check(at.Errorf("name", "not a valid name", nameHint))
		case names[a.Name]:
			l.check(at.Errorf("name", "another entry has this name", "write several tokens as a list in one entry, or rename it"))
		}
		names[a.Name] = true
		l.checkAdminToken(at, a, tokens)
	}
}

// checkAdminToken checks one entry; seen are the tokens of others.
func (l *loader) checkAdminToken(at Node, a AdminToken, seen map[string]bool) {
	if len(a.Tokens) == 0 && at.Get("tokens").IsZero() && at.Get("tokens_file").IsZero() {
		l.check(at.Errorf("", "has no token", "add tokens or tokens_file"))
	}
	places := at.Get("tokens").list()
	for i, token := range a.Tokens {
		where := at.Get("tokens_file")
		if len(places) == len(a.Tokens) {
			where = places[i]
		}
		switch text := token.Reveal(); {
		case where.IsZero():
		case text == "":
			l.check(where.Errorf("", "is empty", "give it a token, or remove it"))
		case seen[text]:
			l.check(where.Errorf("", "is the token of another entry too, so nobody could tell who calls", "give each its own"))
		default:
			seen[text] = true
		}
	}
}

func (l *loader) adviseAdminTokens() {
	n, s := l.server.Get("admin_tokens"), l.cfg.Server
	if n.IsZero() || len(s.AdminTokens) == 0 {
		return
	}
	if s.Admin == "" {
		l.check(n.warnf("", "have no effect, because admin is off", "set admin, or remove them"))
		return
	}
	operator := !s.AdminToken.IsZero()
	for i, a := range s.AdminTokens {
		operator = operator || a.Role == AdminOperator
		for _, token := range a.Tokens {
			if at := n.list(); len(at) == len(s.AdminTokens) && len(token.Reveal()) < shortToken {
				l.check(at[i].warnf("", "has a token that is short enough to be guessed", "use at least 16 characters"))
				break
			}
		}
	}
	if !operator {
		l.check(n.warnf("", "have no operator, so nobody can retry, pause or erase anything", "give one the role operator, or set admin_token"))
	}
}
