# The native server. From a checkout: docker build -f deploy/native.Dockerfile -t sidekick-native .
FROM debian:12 AS build
SHELL ["/bin/bash", "-c"]
WORKDIR /src
COPY . .
RUN scripts/build native && . scripts/env.sh && mkdir /sidekick \
  && cp build/native/sidekick-server "$WASMTIME_PREFIX/lib/libwasmtime.so" /sidekick/ \
  && cp build/sidekick.wasi.wasm /sidekick/sidekick.wasm

FROM debian:12-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
    ca-certificates libhiredis0.14 libsqlite3-0 libssl3 \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /sidekick /opt/sidekick
# Compiles the module once and stores the result beside it, as root, the owner of the folder.
RUN timeout 20 /opt/sidekick/sidekick-server --port 0 --host 127.0.0.1 --secret none \
  || [ $? = 124 ]
USER nobody
EXPOSE 3001
ENTRYPOINT ["/opt/sidekick/sidekick-server", "--port", "3001"]
