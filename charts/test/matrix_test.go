package charttest

import (
	"maps"
	"slices"
	"sync"
	"testing"
)

// withSinks is a configuration with something of everything, whose secrets are
// in the environment or in files.
const withSinks = `
config:
  server: {max_body: 2MiB, shutdown_timeout: 1m, trusted_proxies: [10.0.0.0/8]}
  broker: {retention: 14d, extra_roots: [brand]}
  sources:
    shop: {kind: clickfunnels, path: /webhooks/shop, secrets: ["${SHOP_SECRET}"], subject_prefix: shop}
    main: {kind: clickfunnels, secrets: ["${MAIN_SECRET}"]}
  sinks:
    crm: {kind: http, url: "https://crm.example.com/hooks", sign: {scheme: standard-webhooks, secrets: ["${CRM_SECRET}"]}}
    lake: {kind: s3, bucket: events, region: eu-central-1}
  routes:
    - {name: all, match: [">"], to: [crm, lake]}
`

// cases are values that are worth a look. Names that begin with "own-" are of
// objects that somebody else made.
func cases() map[string]string {
	return map[string]string{
		"default":    "{}",
		"configured": "secrets: {existingSecret: own-secrets, asFiles: true}\nadminToken: {existingSecret: own-admin, key: token}" + withSinks,
		"secrets store": "secrets: {secretProviderClass: own-provider}\nadminToken: {existingSecret: own-admin}" + `
config:
  sources: {main: {kind: clickfunnels, secrets_file: /etc/penstock-secrets/main}}
  sinks: {log: {kind: log}}
  default: [log]
`,
		"claim of one's own": "standalone: {persistence: {existingClaim: own-claim}}",
		"no volume":          "standalone: {persistence: {enabled: false}}\nconfigReload: live",
		"subscribers": `
standalone: {subscribers: {enabled: true}}
secrets: {existingSecret: own-secrets}
config:
  broker: {users: [{name: reports, password: "${REPORTS_PASSWORD}"}]}
  sources: {main: {kind: clickfunnels, secrets: ["${MAIN_SECRET}"]}}
  sinks: {log: {kind: log}}
  default: [log]
`,
		"url token only": `
secrets: {existingSecret: own-secrets}
config:
  sources: {flow: {kind: clickfunnels, url_token: "${FLOW_TOKEN}"}}
  sinks: {log: {kind: log}}
  default: [log]
`,
		"no policies, no test": "networkPolicy: {enabled: false}\ntest: {enabled: false}\nserviceAccount: {create: false}",
		"everything, standalone": "secrets: {existingSecret: own-secrets}" + withSinks + exposed + watched + dressed +
			"standalone: {persistence: {storageClass: fast, annotations: {a: b}, whenDeleted: Delete}, annotations: {a: b}, extraArgs: [--log-level=debug]}\n",
		"distributed":                  "mode: distributed",
		"distributed, one server":      "mode: distributed\nnats: {replicas: 1, reloader: {enabled: false}, persistence: {enabled: false}}\ningress: {replicas: 1}\nrouter: {replicas: 1}",
		"distributed, five servers":    "mode: distributed\nnats: {replicas: 5}",
		"distributed, nothing to make": "mode: distributed\nprovision: {enabled: false}\nnats: {auth: {existingSecret: own-nats}}",
		"distributed, scaled by KEDA":  "mode: distributed\nrouter: {keda: {enabled: true, authenticationRef: {name: own-auth}, metadata: {ignoreNullValues: \"true\"}}}",
		"distributed, NKeys":           "mode: distributed\nnats: {enabled: false}\nexternalNats: {url: \"tls://n1.example.com,tls://n2.example.com\", credentials: {existingSecret: own-nkeys}, tls: {existingSecret: own-ca}}" + withSinks + "secrets: {existingSecret: own-secrets}\n",
		"distributed, credentials":     "mode: distributed\nnats: {enabled: false}\nexternalNats: {url: \"tls://n1.example.com\", credentials: {type: creds, existingSecret: own-creds, keys: {ingress: i, router: r, console: c, provisioner: p}}, tls: {existingSecret: own-ca, clientCertificate: true}}",
		"distributed, password in URL": "mode: distributed\nnats: {enabled: false}\nexternalNats: {url: \"nats://${NATS_USER}:${NATS_PASSWORD}@nats.example.com:4222\", credentials: {type: none}}\nsecrets: {existingSecret: own-secrets}",
		"everything, distributed": "mode: distributed\nsecrets: {existingSecret: own-secrets}" + withSinks + exposed + watched + dressed + `
ingress: {autoscaling: {enabled: true, targetMemory: 80, behavior: {scaleDown: {stabilizationWindowSeconds: 300}}}}
router: {autoscaling: {enabled: true}}
nats: {auth: {reader: true}, tls: {existingSecret: own-nats-tls}, extraConfig: "ping_interval: \"30s\""}
`,
		"long names": "fullnameOverride: a-very-long-name-for-a-release-that-somebody-has-thought-of\nmode: distributed\nmetrics: {dashboards: {enabled: true}}",
	}
}

const exposed = `
service: {type: LoadBalancer, annotations: {a: b}, loadBalancerClass: own/class, loadBalancerSourceRanges: [192.0.2.0/24], externalTrafficPolicy: Local}
expose:
  host: hooks.example.com
  ingress: {enabled: true, className: nginx, tlsSecret: own-tls, annotations: {a: b}}
  httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateways, sectionName: https}]}
`

const watched = `
metrics:
  serviceMonitor: {enabled: true, interval: 30s, scrapeTimeout: 10s, labels: {release: prometheus}}
  rules: {enabled: true, alertLabels: {team: web}}
  dashboards: {enabled: true, annotations: {grafana_folder: Penstock}}
`

const dressed = `
commonLabels: {team: web}
commonAnnotations: {owner: web}
imagePullSecrets: [{name: own-registry}]
image: {digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
networkPolicy: {sinks: {ports: [443]}, adminFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
pod:
  labels: {a: b}
  annotations: {a: b}
  nodeSelector: {kubernetes.io/arch: amd64}
  tolerations: [{key: dedicated, operator: Exists}]
  priorityClassName: high
  extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
  extraVolumes: [{name: ca, configMap: {name: own-ca}}]
  extraVolumeMounts: [{name: ca, mountPath: /etc/ssl/own, readOnly: true}]
`

// eachCase runs a test for every case, with what it renders to.
func eachCase(t *testing.T, test func(t *testing.T, values map[string]any, m manifest)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(cases())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vals(t, cases()[name])
			test(t, v, rendered(t, name, v))
		})
	}
	for _, name := range []string{"laptop", "one-node", "production"} {
		t.Run(name+".yaml", func(t *testing.T) {
			t.Parallel()
			v := valuesFile(t, name+".yaml")
			test(t, v, rendered(t, name+".yaml", v))
		})
	}
}

// renderings are those of the cases, by name; tests only read them.
var renderings sync.Map

// rendered renders a case once for all tests.
func rendered(t *testing.T, name string, v map[string]any) manifest {
	t.Helper()
	once, _ := renderings.LoadOrStore(name, sync.OnceValues(func() (manifest, error) { return rendering{}.render(t, v) }))
	m, err := once.(func() (manifest, error))()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
