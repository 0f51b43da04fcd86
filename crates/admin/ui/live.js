// The connection to mainstay. It heals itself, and what it is worth is told at any time.

/** Without an event for so long what is shown is old. mainstay sends one a second. */
const STALE = 5000;
/** Without one for so long the connection is given up, however alive it looks. */
const DEAD = 15000;
/** Before another try where the browser makes none by itself. */
const AGAIN = 2000;

const EVENTS = ["state", "recent", "changes", "sample"];

/** Calls `on(name, value)` for every event, and with `connection`: `connecting`, `live` or `stale`. */
export function connect(on) {
  let source = null;
  let heard = performance.now();
  let told = "";
  let retry = 0;

  const tell = (state) => {
    if (state !== told) on("connection", (told = state));
  };

  const open = () => {
    clearTimeout(retry);
    retry = 0;
    source?.close();
    heard = performance.now();
    source = new EventSource("api/v1/events");
    source.addEventListener("open", () => on("open"));
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        heard = performance.now();
        on(name, JSON.parse(event.data));
        if (name === "state") tell("live");
      });
    }
    source.addEventListener("error", () => {
      if (told !== "stale") tell(told === "" ? "connecting" : "stale");
      // Refused (there are too many listeners, for example): the browser doesn't try again then.
      if (source.readyState === EventSource.CLOSED && retry === 0) retry = setTimeout(open, AGAIN);
    });
  };

  setInterval(() => {
    const silent = performance.now() - heard;
    if (silent > DEAD && retry === 0) open();
    if (silent > STALE && told !== "connecting") tell("stale");
  }, 1000);
  tell("connecting");
  open();
}
