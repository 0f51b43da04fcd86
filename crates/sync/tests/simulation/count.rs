//! What was done and seen: a simulation in which nothing happens proves nothing.

counts! {
    slots: "slots",
    calls: "calls of CLs",
    changes: "changes of the leader",
    cl_faults: "faults of CLs",
    el_faults: "faults of ELs",
    restarts: "ELs restarted from an old head",
    reorgs: "reorgs",
    heads_judged: "heads judged",
    leaders_judged: "leaders judged",
}
