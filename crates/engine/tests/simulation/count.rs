//! What happened how often: a simulation in which nothing happens proves nothing.

/// Counts, each with its name.
macro_rules! counts {
    ($($field:ident: $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Count {
            $(pub $field: u64,)*
        }

        impl Count {
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }
        }
    };
}

counts! {
    slots: "slots",
    rounds: "rounds",
    told_valid: "told VALID",
    told_invalid: "told INVALID",
    told_syncing: "told SYNCING",
    told_other: "told an error",
    early: "early answers",
    waits: "waits for stragglers",
    late_invalid: "late INVALIDs",
    given_up: "calls given up",
    mutes: "mutes",
    quarantines: "quarantines",
    replays: "replays",
    replaced: "replaced calls",
    not_sent: "calls not sent",
    primaries: "changes of the primary",
    synced_alone: "syncs without mainstay",
    proposals: "proposals",
    payloads: "payloads",
    forwarded: "calls for one node",
    merged: "merged reads",
    fair_slots: "fair slots",
    fair_slots_with_faults: "fair slots with faults",
    objected_slots: "slots that an INVALID of before spoils",
    calm_checks: "calm slots checked",
    changed_answers: "answers that late replies speak against",
}
