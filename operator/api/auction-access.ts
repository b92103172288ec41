/** The part of the schema that says who may bid, and how the auction is reached from outside the cluster. */
import Type from "typebox";
import { HOST_PATTERN, ORIGIN_PATTERN, URL_PATTERN } from "../../services/access/url-patterns.ts";
import { Duration, Name, Section, strict, Text } from "./field-schemas.ts";

export const Access = Section(
  {
    issuer: Text({
      maxLength: 512,
      default: "gavel",
      description: "Required `iss` of a token.",
    }),
    audience: Text({
      maxLength: 512,
      default: "gavel",
      description: "Required `aud` of a token, which may contain others.",
    }),
    jwksUrl: Type.Optional(
      Type.String({
        pattern: URL_PATTERN,
        maxLength: 2048,
        description:
          "URL of the key set of the identity provider. If absent, in Development only, the operator creates a secret for HS256 tokens: Secret `<auction>-access`, key `secret`.",
      }),
    ),
    allowedOrigins: Type.Optional(
      Type.Array(Type.String({ pattern: ORIGIN_PATTERN, maxLength: 253 }), {
        maxItems: 32,
        "x-kubernetes-list-type": "set",
        description:
          "Origins of web pages that may bid, without wildcards. Case and the default port do not matter.",
      }),
    ),
  },
  "Which tokens are accepted.",
);

export const Exposure = Type.Object(
  {
    host: Type.String({
      pattern: HOST_PATTERN,
      maxLength: 253,
      description: "DNS name of the auction: bids are at /, the stream is at /v1/stream.",
    }),
    tlsSecretName: Type.Optional(Name("Secret with the certificate of the host, for an Ingress.")),
    ingress: Type.Optional(
      Type.Object(
        {
          className: Type.Optional(Name("IngressClass. Default: the one of the cluster.")),
          annotations: Type.Optional(
            Type.Record(Type.String(), Type.String({ maxLength: 4096 }), {
              maxProperties: 32,
              description: "Annotations for the ingress controller.",
            }),
          ),
        },
        { ...strict, description: "Exposed by an Ingress." },
      ),
    ),
    gateway: Type.Optional(
      Type.Object(
        {
          name: Name("Name of the Gateway (gateway.networking.k8s.io)."),
          namespace: Type.Optional(
            Name("Namespace of the Gateway. Default: the one of the Auction."),
          ),
          sectionName: Type.Optional(Name("Listener of the Gateway.")),
        },
        { ...strict, description: "Exposed by an HTTPRoute to this Gateway." },
      ),
    ),
    webSocketTimeout: Duration({
      description: "How long a proxy keeps an idle stream open.",
      default: "1h",
    }),
  },
  { ...strict, description: "How bidders and viewers outside the cluster reach the auction." },
);

export type Exposure = Type.Static<typeof Exposure>;
