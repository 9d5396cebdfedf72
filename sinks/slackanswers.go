package sinks

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/penstock/penstock/internal/delivery"
)

// slackAnswer is what an error of Slack's means, and what to do about it.
type slackAnswer struct {
	class delivery.Class
	hint  string
}

const (
	hintToken   = "check the sink's token, and that its app is still installed"
	hintWebhook = "make a new webhook for the channel and set webhook_url to it"
	hintMessage = "see what is sent with `penstock sinks test`, and correct text or blocks"
	hintLater   = "Slack has a problem; it is tried again"
	hintScope   = "give the app the scope chat:write and install it again"
	hintChannel = "set channel to the id of a channel the app can see, C0123456789"
)

// slackAnswers are Slack's errors by name, of the Web API and of webhooks. One
// that is not listed counts as refused, so that it is tried again and shown.
func slackAnswers() map[string]slackAnswer {
	return map[string]slackAnswer{
		// About the channel or the app: a person changes it, and the event is tried again.
		"channel_not_found":                        {delivery.Refused, hintChannel + ", or invite it there"},
		"not_in_channel":                           {delivery.Refused, "invite the app to the channel: /invite @app"},
		"is_archived":                              {delivery.Refused, "unarchive the channel, or set another one"},
		"channel_is_archived":                      {delivery.Refused, "unarchive the channel, or make a webhook for another one"},
		"restricted_action":                        {delivery.Refused, "a setting of the workspace keeps the app from posting there"},
		"restricted_action_read_only_channel":      {delivery.Refused, "the channel is read-only; set another one"},
		"restricted_action_non_threadable_channel": {delivery.Refused, "the channel takes only threads; set another one"},
		"restricted_action_thread_only_channel":    {delivery.Refused, "the channel takes only threads; set another one"},
		"posting_to_general_channel_denied":        {delivery.Refused, "only some may post to the general channel; set another one"},
		"action_prohibited":                        {delivery.Refused, "an administrator has restricted what the webhook may do"},
		"user_not_found":                           {delivery.Refused, "the user the webhook posts as or to is gone; " + hintWebhook},
		"no_service":                               {delivery.Refused, "the webhook was removed or disabled; " + hintWebhook},
		"no_service_id":                            {delivery.Refused, hintWebhook},
		"no_team":                                  {delivery.Refused, hintWebhook},
		"no_active_hooks":                          {delivery.Refused, hintWebhook},
		"invalid_token":                            {delivery.Refused, hintWebhook},
		"team_disabled":                            {delivery.Refused, "the workspace is disabled"},
		"not_authed":                               {delivery.Refused, hintToken},
		"invalid_auth":                             {delivery.Refused, hintToken + ", and that Slack allows this address"},
		"account_inactive":                         {delivery.Refused, hintToken},
		"token_revoked":                            {delivery.Refused, hintToken},
		"token_expired":                            {delivery.Refused, hintToken},
		"no_permission":                            {delivery.Refused, hintScope},
		"missing_scope":                            {delivery.Refused, hintScope},
		"not_allowed_token_type":                   {delivery.Refused, "use a bot token, which begins with xoxb-"},
		"access_denied":                            {delivery.Refused, hintToken},
		"ekm_access_denied":                        {delivery.Refused, "an administrator has suspended posting"},
		"org_login_required":                       {delivery.Refused, "the workspace is moving to another organisation"},
		"team_access_not_granted":                  {delivery.Refused, hintToken},
		"team_not_found":                           {delivery.Refused, hintToken},
		"enterprise_is_restricted":                 {delivery.Refused, hintToken},
		"messages_tab_disabled":                    {delivery.Refused, "turn on the app's messages tab, or set channel to a channel"},
		"method_deprecated":                        {delivery.Refused, "Penstock needs a newer version"},
		"deprecated_endpoint":                      {delivery.Refused, "Penstock needs a newer version"},

		// About this message: no retry will change it.
		"invalid_payload":                         {delivery.Rejected, hintMessage},
		"invalid_blocks":                          {delivery.Rejected, hintMessage},
		"invalid_blocks_format":                   {delivery.Rejected, hintMessage},
		"invalid_attachments":                     {delivery.Rejected, hintMessage},
		"invalid_arguments":                       {delivery.Rejected, hintMessage},
		"invalid_form_data":                       {delivery.Rejected, hintMessage},
		"msg_too_long":                            {delivery.Rejected, "shorten text with truncate"},
		"msg_blocks_too_long":                     {delivery.Rejected, "shorten blocks with truncate, or use fewer"},
		"no_text":                                 {delivery.Rejected, hintMessage},
		"missing_text_or_fallback_or_attachments": {delivery.Rejected, hintMessage},
		"too_many_attachments":                    {delivery.Rejected, hintMessage},
		"too_many_blocks":                         {delivery.Rejected, "use fewer blocks"},
		"metadata_too_large":                      {delivery.Rejected, hintMessage},
		"invalid_metadata_format":                 {delivery.Rejected, hintMessage},

		// About now.
		"ratelimited":            {delivery.Throttled, "several sinks may post to the same channel; lower rate or set digest"},
		"rate_limited":           {delivery.Throttled, "several sinks may post to the same channel; lower rate or set digest"},
		"message_limit_exceeded": {delivery.Throttled, "the workspace has reached its limit of messages"},
		"accesslimited":          {delivery.Throttled, "the workspace limits access for now"},
		"internal_error":         {delivery.Failed, hintLater},
		"fatal_error":            {delivery.Failed, hintLater},
		"service_unavailable":    {delivery.Failed, hintLater},
		"request_timeout":        {delivery.Failed, hintLater},
		"team_added_to_org":      {delivery.Failed, hintLater},
		"rollup_error":           {delivery.Failed, hintLater},
	}
}

// slackReply is what the Web API answers.
type slackReply struct {
	OK       bool   `json:"ok"`
	Error    string `json:"error"`
	Needed   string `json:"needed"`
	Metadata struct {
		Messages []string `json:"messages"`
	} `json:"response_metadata"`
}

// readReply reads an answer of the Web API; known is false when it is none. An
// answer that breaks off after it has said ok has said it.
func readReply(body []byte) (r slackReply, known bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil && fields["ok"] != nil {
		return r, json.Unmarshal(body, &r) == nil
	}
	compact := strings.Map(func(c rune) rune {
		if c == ' ' || c == '\n' {
			return -1
		}
		return c
	}, string(body[:min(len(body), 32)]))
	return slackReply{OK: true}, strings.HasPrefix(compact, `{"ok":true,`)
}

// errorName is the name of an error in the body of an answer, in JSON or as
// plain text, or "".
func errorName(body []byte) string {
	if r, known := readReply(body); known {
		return r.Error
	}
	name := string(bytes.TrimSpace(body))
	if _, ok := slackAnswers()[name]; ok {
		return name
	}
	return ""
}
