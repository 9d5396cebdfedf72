# The image of Penstock: one static program in an empty root, run by a user that
# is nobody else, with its data on a volume.
#
#   docker build -t penstock .                 or, with version and revision:  make image
#   docker run -p 8080:8080 -v penstock:/var/lib/penstock penstock
#   docker run … -v ./penstock.yaml:/etc/penstock/penstock.yaml:ro penstock serve -c /etc/penstock/penstock.yaml
#
# It runs with --read-only, --cap-drop ALL and --security-opt no-new-privileges.

# The version is that of go.mod's toolchain and newer; keep the three numbers.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
# Modules first: they change less often than the rest.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd/ cmd/
COPY config/ config/
COPY examples/receiver/ examples/receiver/
COPY ingress/ ingress/
COPY internal/ internal/
COPY router/ router/
COPY sinks/ sinks/
COPY LICENSE THIRD_PARTY_LICENSES.md /licenses/
ARG TARGETOS TARGETARCH
ARG VERSION=dev REVISION= CREATED=
ENV CGO_ENABLED=0 GOCACHE=/cache/build
# /data becomes the volume, with the owner that may write to it.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/cache/build \
    mkdir -p /out /data && \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION -X main.created=$CREATED" \
      -o /out/ ./cmd/penstock ./examples/receiver

# A service to try Penstock with: it shows what it gets. See docker-compose.yml.
FROM scratch AS receiver
COPY --from=build /out/receiver /receiver
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["/receiver", "-listen", ":9000"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s CMD ["/receiver", "-health", "http://127.0.0.1:9000"]

FROM scratch AS penstock
ARG VERSION=dev REVISION= CREATED=
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Receives webhooks, never loses one, delivers each to every place it is needed" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/penstock/penstock" \
      org.opencontainers.image.documentation="https://github.com/penstock/penstock/tree/main/docs" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /licenses/ /licenses/
COPY --from=build --chown=65532:65532 /data /var/lib/penstock
COPY --from=build /out/penstock /penstock
# By number, so that a platform can see that it is not root.
USER 65532:65532
# Where a relative broker.data_dir, as the default is, lies.
WORKDIR /var/lib/penstock
VOLUME /var/lib/penstock
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/penstock"]
CMD ["serve"]
# For a file that listens elsewhere, give the container a check of its own:
# penstock health -c FILE.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 CMD ["/penstock", "health"]
