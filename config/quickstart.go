package config

// QuickStartYAML is the configuration of a server that is started without one:
// ClickFunnels in, a log out. Parse it under the name "", with an Env that
// knows CLICKFUNNELS_WEBHOOK_SECRET.
const QuickStartYAML = `sources:
  clickfunnels:
    kind: clickfunnels
    path: /webhooks/clickfunnels
    secrets: ["${CLICKFUNNELS_WEBHOOK_SECRET}"]
sinks:
  log:
    kind: log
routes:
  - name: everything
    match: [">"]
    to: [log]
`
