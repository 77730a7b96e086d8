# The Node host. From a checkout: docker build -f deploy/node.Dockerfile -t sidekick-node .
FROM debian:12 AS build
SHELL ["/bin/bash", "-c"]
WORKDIR /src
COPY . .
RUN scripts/build module && . scripts/env.sh && use_cached_node \
  && npm pack --workspace covenant-sidekick --pack-destination /

FROM node:22-bookworm-slim
WORKDIR /sidekick
COPY --from=build /covenant-sidekick-*.tgz package.tgz
# The second package is for --engine only.
RUN npm init -y >/dev/null && npm install --omit=dev ./package.tgz @redis/client@6.3.1 \
  && rm package.tgz
USER node
EXPOSE 3001
# Not through npx or a shell: they do not pass on SIGTERM.
ENTRYPOINT ["node", "node_modules/covenant-sidekick/bin/sidekick-serve.js", "--port", "3001"]
