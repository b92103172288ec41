/** The processes of the tiers: CPU, memory, event loop, connections, and what they are asked. */
import { graph, page, row } from "./panel.ts";
import { of, perSecond, quantile, rate } from "./queries.ts";

const TIERS = `tier=~"gateway|broadcast|archival"`;
const EACH = "{{tier}} {{instance}}";

export const tiers = page(
  "tiers",
  "Gavel / Tiers",
  "Every process of gateway, broadcast and archival.",
  "gavel_archival_lease_held",
)
  .withRow(row("Processes"))
  .withPanel(
    graph("CPU", "Cores. One process cannot use more than about one.", [
      [rate(of("process_cpu_seconds_total", TIERS)), EACH],
    ]),
  )
  .withPanel(
    graph("Memory", "Resident.", [[of("process_resident_memory_bytes", TIERS), EACH]], {
      unit: "bytes",
    }),
  )
  .withPanel(
    graph("Heap", "Used by JavaScript.", [[of("nodejs_heap_size_used_bytes", TIERS), EACH]], {
      unit: "bytes",
    }),
  )
  .withPanel(
    graph(
      "Event loop, p99",
      "How late it turns: everything that a process does waits so long.",
      [[of("nodejs_eventloop_lag_p99_seconds", TIERS), EACH]],
      { unit: "s", limit: 0.1 },
    ),
  )
  .withPanel(
    graph(
      "Garbage collection",
      "Share of the time.",
      [[`sum by (tier, instance) (${rate(of("nodejs_gc_duration_seconds_sum", TIERS))})`, EACH]],
      { unit: "percentunit" },
    ),
  )
  .withPanel(
    graph("Connections", "HTTP connections of gateways, sockets of broadcast.", [
      [of("gavel_gateway_connections"), EACH],
      [of("gavel_broadcast_sockets"), EACH],
    ]),
  )
  .withPanel(
    graph("Open files", "Of each process; its limit is process_max_fds.", [
      [of("process_open_fds", TIERS), EACH],
    ]),
  )
  .withPanel(
    graph(
      "Age",
      "Since each process started: a line that falls to 0 is a restart.",
      [[`time() - ${of("process_start_time_seconds", TIERS)}`, EACH]],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Redis is reached", "By the connection for bids.", [
      [of("gavel_gateway_store_up"), EACH],
      [of("gavel_broadcast_store_up"), EACH],
    ]),
  )
  .withPanel(
    graph("Defects", "Requests and messages answered `internal`: errors that no outage explains.", [
      [perSecond("gavel_gateway_internal_errors_total", "tier"), "gateway"],
      [perSecond("gavel_broadcast_internal_errors_total", "tier"), "broadcast"],
      [perSecond("gavel_archival_internal_errors_total", "tier"), "archival"],
    ]),
  )
  .withRow(row("Gateway"))
  .withPanel(
    graph(
      "Requests",
      "By route and status.",
      [
        [
          perSecond("gavel_gateway_request_duration_seconds_count", "method, route, status"),
          "{{method}} {{route}} {{status}}",
        ],
      ],
      { unit: "reqps" },
    ),
  )
  .withPanel(
    graph(
      "Failed requests",
      "Answered 500 or above.",
      [
        [
          perSecond("gavel_gateway_request_duration_seconds_count", "route", `status=~"5.."`),
          "{{route}}",
        ],
        [perSecond("gavel_gateway_unreadable_requests_total", "code"), "no HTTP: {{code}}"],
      ],
      { unit: "reqps" },
    ),
  )
  .withPanel(
    graph("Batches", "Bids in one call to Redis, and bids that wait for theirs.", [
      [quantile(0.5, "gavel_gateway_batch_bids"), "p50"],
      [quantile(0.99, "gavel_gateway_batch_bids"), "p99"],
      [`sum(${of("gavel_gateway_bids_waiting")})`, "waiting"],
    ]),
  )
  .withPanel(
    graph(
      "Optimistic strategy",
      "Batches that lost a race, and those left to the script. 0 where bids are decided by the script.",
      [[perSecond("gavel_gateway_optimistic_batches_total", "event"), "{{event}}"]],
      { unit: "ops" },
    ),
  )
  .withRow(row("Broadcast"))
  .withPanel(
    graph(
      "Messages of viewers",
      "By type and outcome.",
      [
        [
          perSecond("gavel_broadcast_message_duration_seconds_count", "type, outcome"),
          "{{type}} {{outcome}}",
        ],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Frames",
      "Written to sockets; conflated: snapshots in place of events for a slow reader.",
      [
        [perSecond("gavel_broadcast_frames_written_total", ""), "frames"],
        [perSecond("gavel_broadcast_conflated_total", ""), "conflated"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Written",
      "To sockets.",
      [[perSecond("gavel_broadcast_written_bytes_total", ""), "bytes"]],
      { unit: "Bps" },
    ),
  )
  .withPanel(
    graph("Closes", "By us, by reason; dead: nothing was heard of the viewer.", [
      [perSecond("gavel_broadcast_closes_total", "reason"), "{{reason}}"],
      [perSecond("gavel_broadcast_dead_total", ""), "dead"],
    ]),
  )
  .withPanel(
    graph("Resumes", "recovered: every missed event was sent.", [
      [perSecond("gavel_broadcast_resumes_total", "result"), "{{result}}"],
    ]),
  )
  .withPanel(
    graph("Refused and refilled", "Sockets and messages refused; lots brought forward.", [
      [perSecond("gavel_broadcast_refused_total", "reason"), "socket: {{reason}}"],
      [perSecond("gavel_broadcast_rejected_messages_total", "reason"), "message: {{reason}}"],
      [perSecond("gavel_broadcast_refills_total", "result"), "lot: {{result}}"],
    ]),
  );
