/** The page in a real browser, over a real gateway, broadcast and Redis. */
import { existsSync } from "node:fs";
import { type Browser, chromium, type Page, type WebSocketRoute } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../../servers/find-program.ts";
import { startOne } from "../testing/broadcast.ts";
import { defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { startTestGateway, type TestGateway, tokenOf } from "../testing/gateway.ts";
import { startRedis } from "../testing/servers.ts";
import { until } from "../testing/until.ts";

/** Chromium logs a refused bid (409) and an overloaded gateway (503), which the page asks again. */
const FAILED_REQUEST = /the server responded with a status of (409|503)/;
/** A busy machine may need long to start a page. */
const PATIENCE_MS = 90_000;
const executablePath = findProgram("chromium") ?? findProgram("google-chrome");
if (executablePath === null) {
  console.warn("SKIPPED: the page's tests need chromium on PATH; nothing of the page was tested");
}

describe.skipIf(executablePath === null || !existsSync(executablePath))("the page", async () => {
  let browser: Browser;
  let gateway: TestGateway;

  beforeAll(async () => {
    const redis = await startRedis();
    const store = await openStore(redis.url);
    const { definition } = await defineAndOpen(store, {
      title: "Spring sale",
      lots: [
        lotDefinition("teapot", { title: "Silver teapot, London 1786", reserveMinor: 100_000 }),
        lotDefinition("atlas", { title: "Blaeu, Atlas Maior, vol. IV" }),
        lotDefinition("hostile", { title: '<img src=x onerror="document.title=1">' }),
        lotDefinition("typed", { title: "A lot for amounts" }),
        lotDefinition("brief", { title: "A lot that is about to close", lastsMs: 45_000 }),
      ],
    });
    const broadcast = await startOne(redis.url, definition.uid);
    gateway = await startTestGateway(redis.url, definition.uid, { STREAM_URL: broadcast.url });
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    });
  });
  afterAll(() => browser?.close());

  /** A page of a bidder of its own, live. Anything the page complains about fails the test. */
  async function open(
    sub: string | null,
    width = 1280,
    before: (page: Page) => Promise<void> = async () => {},
    locale = "en-IE",
  ): Promise<Page> {
    const context = await browser.newContext({ viewport: { width, height: 900 }, locale });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
    await before(page);
    const hash = sub === null ? "" : `#token=${await tokenOf(sub)}`;
    await page.goto(`${gateway.url}/${hash}`);
    await page.locator('#connection[data-state="live"]').waitFor();
    return page;
  }
  const complaints: string[] = [];
  const lotOn = (page: Page, lotId: string) => page.locator(`[data-lot="${lotId}"]`);

  test("a bid on one page shows on another, with who leads and who is outbid", async () => {
    const [ada, bea] = await Promise.all([open("ada"), open("bea", 390)]);
    expect(await ada.title()).toBe("Spring sale");
    expect(new URL(ada.url()).hash).toBe("");

    const hers = lotOn(ada, "teapot");
    await hers.getByRole("button", { name: "Place bid" }).click();
    await hers.getByText("Your bid of €10.00 was accepted.").waitFor();
    await hers.getByText("You lead").waitFor();

    const his = lotOn(bea, "teapot");
    await his.getByText("by ada").waitFor();
    expect(await his.locator(".amount").textContent()).toBe("€10.00");
    expect(await his.locator(".reserve").textContent()).toBe("not met");
    expect(await his.locator("input").inputValue()).toBe("10.50");

    await his.locator("input").fill("1234,5");
    await his.getByRole("button", { name: "Place bid" }).click();
    await his.getByText("You lead").waitFor();
    await hers.getByText("You are outbid by bea").waitFor();
    expect(await hers.locator(".amount").textContent()).toBe("€1,234.50");
    expect(await hers.locator(".reserve").textContent()).toBe("met");
    expect(await hers.locator(".count").textContent()).toBe("2");

    await hers.getByText("Bids so far").click();
    await hers.locator(".history li").nth(1).waitFor();
    expect(await hers.locator(".history .who").allTextContents()).toEqual(["bea", "you"]);

    await his.locator("input").fill("1");
    await his.getByRole("button", { name: "Place bid" }).click();
    await his.getByText(/Too low by now: €1,236.50 is the least/).waitFor();
    await his.locator("input").fill("12 50");
    await his.getByRole("button", { name: "Place bid" }).click();
    await his.getByText("Write an amount with at most 2 decimals, such as 1236.50.").waitFor();
    expect(complaints.filter((text) => !FAILED_REQUEST.test(text))).toEqual([]);
    await Promise.all([ada.context().close(), bea.context().close()]);
  });

  test("an amount is read as the visitor writes it, and one that is not clear is asked for", async () => {
    const [eva, fay] = await Promise.all([
      open("eva", 1280, undefined, "de-DE"),
      open("fay", 390, undefined, "en-IE"),
    ]);
    const lot = lotOn(eva, "typed");
    expect(await lot.locator("input").inputValue()).toBe("10,00");
    const bids: [page: Page, text: string, shown: string][] = [
      [eva, "1.234", "1.234,00 €"],
      [eva, "2.345,67 €", "2.345,67 €"],
      [fay, "EUR 3,456.50", "€3,456.50"],
      [fay, "４，５００", "€4,500.00"],
    ];
    for (const [page, text, shown] of bids) {
      const theirs = lotOn(page, "typed");
      await theirs.locator("input").fill(text);
      await theirs.getByRole("button", { name: "Place bid" }).click();
      await theirs.getByText(`Your bid of ${shown} was accepted.`).waitFor();
    }

    const hers = lotOn(fay, "typed");
    await hers.locator("input").fill("12.345");
    await hers.getByRole("button", { name: "Place bid" }).click();
    await hers.getByText("Your bid is not clear. Did you mean").waitFor();
    expect((await gateway.get("/v1/lots/typed")).body["bidCount"]).toBe(4);
    await hers.getByRole("button", { name: "€12,345.00" }).click();
    await hers.getByText("Your bid of €12,345.00 was accepted.").waitFor();
    const { body } = await gateway.get("/v1/lots/typed");
    expect(body).toMatchObject({ bidCount: 5, leadingBid: { amountMinor: 1_234_500 } });
    await Promise.all([eva.context().close(), fay.context().close()]);
  });

  test("whatever a bidder or a lot is called shows as text and runs nowhere", async () => {
    const name = '<script>document.title="owned"</script><b>x</b>';
    expect((await gateway.bid("atlas", 1_000, { token: await tokenOf(name) })).status).toBe(201);
    const page = await open("ada");
    const atlas = lotOn(page, "atlas");
    expect(await atlas.locator(".leader").textContent()).toBe(`by ${name}`);
    await atlas.getByText("Bids so far").click();
    expect(await atlas.locator(".history .who").textContent()).toBe(name);
    expect(await lotOn(page, "hostile").locator(".name").textContent()).toContain("<img src=x");
    expect(await page.locator("main :is(img, script, b)").count()).toBe(0);
    expect(await page.title()).toBe("Spring sale");
    await page.context().close();
  });

  test("a bid that got no answer is sent again with its key, and placed once", async () => {
    const page = await open("cyd");
    const keys: (string | undefined)[] = [];
    await page.route("**/v1/lots/hostile/bids", async (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      if (keys.length > 1) return route.continue();
      await route.fetch(); // it arrives, and its answer is lost
      await route.abort("connectionreset");
    });
    const lot = lotOn(page, "hostile");
    await lot.getByRole("button", { name: "Place bid" }).click();
    await lot.getByText("was accepted").waitFor();
    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
    const { body } = await gateway.get("/v1/lots/hostile");
    expect(body["bidCount"]).toBe(1);
    await page.context().close();
  });

  test("without a token one may watch, and is told what bidding needs", async () => {
    const page = await open(null, 390);
    const lot = lotOn(page, "atlas");
    await lot.getByRole("button", { name: "Place bid" }).click();
    await lot.getByText("Paste your token first").waitFor();
    await page.locator("#token").fill(await tokenOf("dan"));
    await page.getByRole("button", { name: "Use" }).click();
    await page.getByText("Bidding as dan").waitFor();
    const overflow = await page.evaluate("document.documentElement.scrollWidth > innerWidth");
    expect(overflow).toBe(false);
    await page.context().close();
  });

  test("a line that ends or falls silent is opened again as told, and resumed; one that we spoilt is not", async () => {
    const lines: { route: WebSocketRoute; fromMs: number; first: string; isDead: boolean }[] = [];
    const page = await open(null, 1280, async (page) => {
      await page.routeWebSocket("**/v1/stream", (route) => {
        const line = { route, fromMs: performance.now(), first: "", isDead: false };
        lines.push(line);
        const server = route.connectToServer();
        server.onMessage((message) => line.isDead || route.send(message));
        route.onMessage((message) => {
          line.first ||= String(message);
          if (!line.isDead) server.send(message);
        });
      });
    });
    const state = (of: string) => page.locator(`#connection[data-state="${of}"]`).waitFor();
    const { epoch, seq, minimumMinor } = (await gateway.get("/v1/lots/atlas")).body;

    const endedMs = performance.now();
    await lines[0]!.route.close({ code: 1012, reason: JSON.stringify({ retryAfterMs: 1_500 }) });
    await gateway.bid("atlas", Number(minimumMinor), { token: await tokenOf("meanwhile") });
    await until("it is back", () => lines.length === 2 && lines[1]!.first !== "");
    expect(lines[1]!.fromMs - endedMs).toBeGreaterThan(1_400);
    const { since } = JSON.parse(lines[1]!.first) as { since: Record<string, object> };
    expect(Object.keys(since).sort()).toEqual(["atlas", "brief", "hostile", "teapot", "typed"]);
    expect(since["atlas"]).toEqual({ epoch, seq });
    await lotOn(page, "atlas").getByText("by meanwhile").waitFor();
    await state("live");

    lines[1]!.isDead = true;
    await page.evaluate("dispatchEvent(new Event('online'))");
    await until("the silent one is given up", () => lines.length === 3 && lines[2]!.first !== "");
    await state("live");

    await lines[2]!.route.close({ code: 1008, reason: "too_many_errors" });
    await state("ended");
    await page.evaluate("dispatchEvent(new Event('online'))");
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(lines).toHaveLength(3);
    await page.context().close();
  });
});
