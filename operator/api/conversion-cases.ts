/**
 * Texts of an Auction that are converted to another type: instants, durations, quantities, URLs, currencies.
 * validateAuction() and the API server refuse those that cannot be converted, as they refuse those of auction-cases.ts.
 */
import { accepted, auctionWith, type Case, refused, SERVER } from "./auction-cases.ts";

const opening = (opensAt: string) => auctionWith({ schedule: { opensAt, lasts: "30m" } });

const refusedInstant = (opensAt: string): Case =>
  refused(
    `the instant ${opensAt}`,
    opening(opensAt),
    "spec.schedule.opensAt",
    /must be an instant/,
    { message: /should match|must be of type date-time/ },
  );

const withAccess = (access: unknown) => auctionWith({ access });
const withHost = (host: string) => auctionWith({ exposure: { host, ingress: {} } });

const refusedUrl = (jwksUrl: string): Case =>
  refused(
    `the URL ${jwksUrl}`,
    withAccess({ jwksUrl }),
    "spec.access.jwksUrl",
    /must match/,
    SERVER.pattern,
  );

const refusedOrigin = (origin: string): Case =>
  refused(
    `the origin ${origin}`,
    withAccess({ allowedOrigins: [origin] }),
    "spec.access.allowedOrigins[0]",
    /must match/,
    SERVER.pattern,
  );

const refusedHost = (host: string): Case =>
  refused(`the host ${host}`, withHost(host), "spec.exposure.host", /must match/, SERVER.pattern);

const volume = (size: string) =>
  auctionWith({ backing: { redis: { managed: { storage: { size } } } } });

const refusedVolume = (size: string): Case =>
  refused(
    `a volume of ${size}`,
    volume(size),
    "spec.backing.redis.managed.storage.size",
    /must match/,
    SERVER.pattern,
  );

const requesting = (memory: unknown) =>
  auctionWith({ tiers: { gateway: { resources: { requests: { memory } } } } });

const refusedQuantity = (memory: string): Case =>
  refused(
    `the quantity ${memory}`,
    requesting(memory),
    "spec.tiers.gateway.resources.requests.memory",
    /must/,
    SERVER.pattern,
  );

export const CONVERSION_CASES: readonly Case[] = [
  accepted("an instant with an offset", opening("2026-12-24T18:00:00+01:00")),
  accepted("an instant to the millisecond", opening("2026-12-24T18:00:00.125Z")),
  accepted("the 29th of February of a leap year", opening("2028-02-29T18:00:00-11:30")),
  refusedInstant("2026-12-24T18:00:00+01:00[Europe/Berlin]"),
  refusedInstant("2026-12-24T18:00:00Z[u-ca=gregory]"),
  refusedInstant("2026-12-31T23:59:60Z"),
  refusedInstant("2026-12-24T24:00:00Z"),
  refusedInstant("2026-12-24T18:60:00Z"),
  refusedInstant("2027-02-29T18:00:00Z"),
  refusedInstant("2026-12-24T18:00:00+24:00"),
  refusedInstant("2026-12-24T18:00:00+01:60"),
  refusedInstant("2026-12-24T18:00:00+0100"),
  refusedInstant("2026-12-24t18:00:00z"),
  refusedInstant("2026-12-24 18:00:00Z"),
  refusedInstant("2026-12-24T18:00Z"),
  refusedInstant("2026-12-24"),
  refusedInstant("2026-12-24T18:00:00.Z"),
  refusedInstant("2026-12-24T18:00:00,5Z"),
  refusedInstant("2026-12-24T18:00:00.0001Z"),
  refusedInstant("0000-01-01T00:00:00Z"),
  refusedInstant("0001-01-01T00:00:00Z"),
  refusedInstant("1969-12-31T23:59:59Z"),
  refusedInstant("9999-12-31T23:59:59Z"),
  refusedInstant("+010000-01-01T00:00:00Z"),
  refusedInstant("１２２６-12-24T18:00:00Z"),
  refusedInstant(""),

  accepted(
    "a key set on a port",
    withAccess({ jwksUrl: "http://keycloak.auth.svc:8080/keys?a=b" }),
  ),
  accepted("a key set on an IPv6 address", withAccess({ jwksUrl: "https://[fd00::1]:8443/keys" })),
  accepted("a key set on an IPv4 address", withAccess({ jwksUrl: "https://10.0.0.1/keys" })),
  refusedUrl("https://"),
  refusedUrl("https:///keys"),
  refusedUrl("https://id example.com/keys"),
  refusedUrl("https://id.example.com:99999/keys"),
  refusedUrl("https://id.example.com:0/keys"),
  refusedUrl("https://1.2.3.999/keys"),
  refusedUrl("https://id.example.com/keys\n"),
  refusedUrl("https://user:password@id.example.com/keys"),

  accepted("an origin with a port", withAccess({ allowedOrigins: ["http://localhost:3000"] })),
  accepted(
    "an origin with capitals and the default port",
    withAccess({ allowedOrigins: ["https://Shop.Example.com:443", "http://[FD00::1]"] }),
  ),
  refusedOrigin("https://*.example.com"),
  refusedOrigin("*"),
  refusedOrigin("null"),
  refusedOrigin("https://shop.example.com/"),
  refusedOrigin("https://a.example.com:65536"),
  refusedOrigin("https://a.example.com?b"),
  refusedOrigin("https://1.2.3"),

  refusedHost("1.2.3.999"),
  refusedHost("999"),
  refusedHost(`${"a".repeat(64)}.example.com`),

  accepted("a volume of two tebibytes", volume("2Ti")),
  refusedVolume("0Gi"),
  refusedVolume("99999999999999Ti"),

  accepted("a quantity in bytes", requesting(268_435_456)),
  refusedQuantity("-1Gi"),
  refusedQuantity("1e9999"),
  refusedQuantity("."),

  refused(
    "a title that Postgres cannot hold",
    auctionWith({ title: "Spring\u0000sale" }),
    "spec.title",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "a title of a lot that Postgres cannot hold",
    auctionWith({ lots: [{ id: "a", title: "a\u0000", startMinor: 1 }] }),
    "spec.lots[0].title",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "an issuer that no environment variable can hold",
    withAccess({ issuer: "a\u0000b" }),
    "spec.access.issuer",
    /must match/,
    SERVER.pattern,
  ),

  accepted("yen", auctionWith({ currency: "JPY" })),
  accepted("yen with their own digits", auctionWith({ currency: "JPY", minorUnitDigits: 0 })),
  accepted("dinars with their own digits", auctionWith({ currency: "KWD", minorUnitDigits: 3 })),
  accepted("tokens of a club", auctionWith({ currency: "QQQ", minorUnitDigits: 1 })),
  refused(
    "yen with the digits of euros",
    auctionWith({ currency: "JPY", minorUnitDigits: 2 }),
    "spec.minorUnitDigits",
    /those of the currency/,
  ),
  refused(
    "euros without cents",
    auctionWith({ currency: "EUR", minorUnitDigits: 0 }),
    "spec.minorUnitDigits",
    /those of the currency/,
  ),
  refused(
    "tokens of a club without digits",
    auctionWith({ currency: "QQQ" }),
    "spec.minorUnitDigits",
    /is required/,
  ),
];
