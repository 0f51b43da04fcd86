// What a case of each decision is made of, as the keys of `mainstay explain`. What is as it is by itself isn't in the URL.

export const DECISIONS = {
  verdict: {
    title: "Verdict",
    about: "What the engine answers to these votes, when, and by which rule.",
    fields: [
      { key: "majority", label: "Majority", type: "number", by: "0.6", min: 0, max: 1, step: "any", hint: "Share of the votes" },
      { key: "min_votes", label: "Min votes", type: "number", by: "1", min: 1, max: 1000, hint: "With fewer: SYNCING" },
      { key: "straggler_wait", label: "Straggler wait", type: "text", by: "300ms", hint: "Once VALID stands" },
      { key: "timeout", label: "Timeout", type: "text", by: "7500ms", hint: "Longest wait for a node" },
      { key: "on_dissent", label: "On dissent", type: "select", by: "syncing", of: ["syncing", "majority"], hint: "INVALID without a majority" },
      { key: "on_shortfall", label: "On shortfall", type: "select", by: "syncing", of: ["syncing", "error"], hint: "When nobody votes" },
    ],
    rows: "votes",
    first: "V,V@20ms,I@250ms",
  },
  lanes: {
    title: "Lanes",
    about: "In which order rpc's nodes get these requests, and how long each waits.",
    fields: [
      { key: "nodes", label: "Nodes", type: "number", by: "1", min: 0, max: 64 },
      { key: "node_workers", label: "Workers of each", type: "number", by: "1", min: 1, max: 1000000 },
      { key: "work", label: "Work of a request", type: "text", by: "100ms", hint: "Where it doesn't say" },
      { key: "request_timeout", label: "Request timeout", type: "text", by: "5s" },
      { key: "fast_track_per_high", label: "Fast-track per high", type: "number", by: "2", min: 0, max: 1000000 },
      { key: "fast_track_drain_first", label: "Fast-track first", type: "checkbox", by: "false", hint: "Until none waits" },
      { key: "low_max_wait", label: "Low max wait", type: "text", by: "off", hint: "Goes next after this" },
      { key: "fast_track_max", label: "Fast-track max", type: "number", by: "0", min: 0, max: 10000000, hint: "0: no limit" },
      { key: "high_max", label: "High max", type: "number", by: "0", min: 0, max: 10000000, hint: "0: no limit" },
      { key: "low_max", label: "Low max", type: "number", by: "0", min: 0, max: 10000000, hint: "0: no limit" },
      { key: "queue_max", label: "Queue max", type: "number", by: "100000", min: 1, max: 10000000 },
    ],
    rows: "arrivals",
    first: "L*3,H*2@10ms,F*3@20ms",
  },
  check: {
    title: "Check",
    about: "Whether an own check holds by a sample reply, and which of its conditions say so.",
    fields: [
      { key: "expect", label: "Expression (CEL)", type: "area", by: "" },
      { key: "status", label: "Status", type: "number", by: "200", min: -1000, max: 1000, hint: "Of the reply, or of a program" },
      { key: "min_peers", label: "guard.min_peers", type: "number", by: "0", min: 0, max: 1000000 },
      { key: "headers", label: "Headers, one a line", type: "area", by: "", list: true },
      { key: "body", label: "Body", type: "area", by: "" },
    ],
    samples: [
      ["Sync state", "!body.data.is_syncing && int(body.data.sync_distance) <= 2", `{"data": {"head_slot": "9000", "sync_distance": "0", "is_syncing": false, "is_optimistic": false, "el_offline": false}}`],
      ["Peers", "status == 200 && int(body.data.connected) >= guard.min_peers", `{"data": {"connected": "63", "connecting": "2", "disconnected": "10", "disconnecting": "0"}}`],
      ["A JSON-RPC result", "has(body.result) && !has(body.error)", `{"jsonrpc": "2.0", "id": 1, "result": false}`],
    ],
  },
};

/** Votes and arrivals as rows, and back. Text that can't be read that way gives null: it is then edited as text. */
export const ROWS = {
  votes: {
    title: "Nodes",
    columns: ["Node", "Says", "After, ms", "Waited for", "INVALID before"],
    says: [["V", "VALID"], ["I", "INVALID"], ["S", "SYNCING"], ["A", "ACCEPTED"], ["E", "an error"], ["-", "nothing"]],
    read(text) {
      const read = /^([VISAE-])([?!]*)(?:@(\d+)ms)?$/i.exec(text.trim());
      return read && { says: read[1].toUpperCase(), at: Number(read[3] ?? 0), maybe: read[2].includes("?"), before: read[2].includes("!") };
    },
    write: ({ says, at, maybe, before }) => `${says}${maybe ? "?" : ""}${before ? "!" : ""}${at > 0 ? `@${at}ms` : ""}`,
    fresh: { says: "V", at: 0, maybe: false, before: false },
  },
  arrivals: {
    title: "Requests",
    columns: ["", "Lane", "How many", "Come at, ms", "Work, ms"],
    says: [["F", "fast-track"], ["H", "high"], ["L", "low"]],
    read(text) {
      const read = /^([FHL])(?:\*(\d+))?(?:@(\d+)ms)?(?:\/(\d+)ms)?$/i.exec(text.trim());
      return read && { says: read[1].toUpperCase(), times: Number(read[2] ?? 1), at: Number(read[3] ?? 0), work: read[4] === undefined ? "" : Number(read[4]) };
    },
    write: ({ says, times, at, work }) => `${says}${times > 1 ? `*${times}` : ""}${at > 0 ? `@${at}ms` : ""}${work === "" ? "" : `/${work}ms`}`,
    fresh: { says: "H", times: 1, at: 0, work: "" },
  },
};
