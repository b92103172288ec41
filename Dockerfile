# One image for every process of Gavel: `node services/gateway/main.ts`, `node operator/main.ts` …
# `make image` builds it from a folder with the production packages only. Node runs the .ts files as
# they are: nothing is compiled here, and nothing is fetched, so it builds without a network.
ARG BASE=node:24-bookworm-slim
FROM ${BASE}
WORKDIR /app
ENV NODE_ENV=production
# What changes seldom comes first: these layers are kept from one build to the next.
COPY package.json LICENSE ./
COPY node_modules node_modules
COPY cli cli
COPY load load
COPY servers servers
COPY services services
COPY operator operator
# Numeric, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 1000:1000
CMD ["node", "operator/main.ts"]
