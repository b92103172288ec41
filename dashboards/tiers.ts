/** The processes of the tiers: CPU, memory, event loop, connections, requests. */
import { graph, newDashboard, row } from "./panel.ts";
import { series, perSecond, quantile, rate } from "./queries.ts";

const TIERS = `tier=~"gateway|broadcast|archival"`;
const EACH = "{{tier}} {{instance}}";

export const tiers = newDashboard(
  "tiers",
  "Gavel / Tiers",
  "All processes of gateway, broadcast and archival.",
  "gavel_archival_lease_held",
)
  .withRow(row("Processes"))
  .withPanel(
    graph("CPU", "Cores. A process uses at most about one.", [
      [rate(series("process_cpu_seconds_total", TIERS)), EACH],
    ]),
  )
  .withPanel(
    graph(
      "Memory",
      "Resident set size.",
      [[series("process_resident_memory_bytes", TIERS), EACH]],
      {
        unit: "bytes",
      },
    ),
  )
  .withPanel(
    graph(
      "Heap",
      "JavaScript heap in use.",
      [[series("nodejs_heap_size_used_bytes", TIERS), EACH]],
      {
        unit: "bytes",
      },
    ),
  )
  .withPanel(
    graph(
      "Event loop, p99",
      "Delay of the event loop: everything in the process waits this long.",
      [[series("nodejs_eventloop_lag_p99_seconds", TIERS), EACH]],
      { unit: "s", limit: 0.1 },
    ),
  )
  .withPanel(
    graph(
      "Garbage collection",
      "Share of the time.",
      [
        [
          `sum by (tier, instance) (${rate(series("nodejs_gc_duration_seconds_sum", TIERS))})`,
          EACH,
        ],
      ],
      { unit: "percentunit" },
    ),
  )
  .withPanel(
    graph("Connections", "HTTP connections of gateway, WebSockets of broadcast.", [
      [series("gavel_gateway_connections"), EACH],
      [series("gavel_broadcast_sockets"), EACH],
    ]),
  )
  .withPanel(
    graph("Open files", "Open file descriptors. The limit is process_max_fds.", [
      [series("process_open_fds", TIERS), EACH],
    ]),
  )
  .withPanel(
    graph(
      "Uptime",
      "A line that falls to 0 is a restart.",
      [[`time() - ${series("process_start_time_seconds", TIERS)}`, EACH]],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Connected to Redis", "The connection that decides bids: 1 connected.", [
      [series("gavel_gateway_store_up"), EACH],
      [series("gavel_broadcast_store_up"), EACH],
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
      "Answered with status 500 or above.",
      [
        [
          perSecond("gavel_gateway_request_duration_seconds_count", "route", `status=~"5.."`),
          "{{route}}",
        ],
        [perSecond("gavel_gateway_unreadable_requests_total", "code"), "not HTTP: {{code}}"],
      ],
      { unit: "reqps" },
    ),
  )
  .withPanel(
    graph("Batches", "Bids per call to Redis, and bids that wait for a call.", [
      [quantile(0.5, "gavel_gateway_batch_bids"), "p50"],
      [quantile(0.99, "gavel_gateway_batch_bids"), "p99"],
      [`sum(${series("gavel_gateway_bids_waiting")})`, "waiting"],
    ]),
  )
  .withPanel(
    graph(
      "Optimistic strategy",
      "Batches that lost a race, and batches that fell back to the script. 0 with the script strategy.",
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
      "Frames written to sockets; conflated: snapshots sent to a slow viewer instead of events.",
      [
        [perSecond("gavel_broadcast_frames_written_total", ""), "frames"],
        [perSecond("gavel_broadcast_conflated_total", ""), "conflated"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Bytes written",
      "Bytes written to sockets.",
      [[perSecond("gavel_broadcast_written_bytes_total", ""), "bytes"]],
      { unit: "Bps" },
    ),
  )
  .withPanel(
    graph(
      "Closed connections",
      "Closed by broadcast, by reason; dead: the viewer no longer answered.",
      [
        [perSecond("gavel_broadcast_closes_total", "reason"), "{{reason}}"],
        [perSecond("gavel_broadcast_dead_total", ""), "dead"],
      ],
    ),
  )
  .withPanel(
    graph("Resumes", "By result; recovered: the viewer got every event that it missed.", [
      [perSecond("gavel_broadcast_resumes_total", "result"), "{{result}}"],
    ]),
  )
  .withPanel(
    graph(
      "Refusals and gap fills",
      "Refused sockets and messages; lots whose missing events were filled in.",
      [
        [perSecond("gavel_broadcast_refused_total", "reason"), "socket: {{reason}}"],
        [perSecond("gavel_broadcast_rejected_messages_total", "reason"), "message: {{reason}}"],
        [perSecond("gavel_broadcast_refills_total", "result"), "lot: {{result}}"],
      ],
    ),
  );
