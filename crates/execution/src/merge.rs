//! Putting the answers of several execution clients (EL) together where the verdict doesn't: blobs, bodies, capabilities, client
//! versions, and the choice among built payloads. All values are raw JSON and stay what the nodes sent.

use std::collections::HashSet;

use bytes::Bytes;
use mainstay_wire::envelope;

/// Writes a JSON array of raw elements.
#[must_use]
pub fn array<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = vec![b'['];
    for (i, element) in elements.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(element);
    }
    out.push(b']');
    Bytes::from(out)
}

/// getBlobs of all versions, getPayloadBodies: arrays with nulls at the positions that a node lacks.
///
/// `whole_or_nothing` is getBlobsV2: the first complete answer, or null. Else positions are merged in the order of the
/// nodes. A position that several have is taken from the one with the fewest nulls inside (getBlobsV4 may lack cells).
#[derive(Debug, Default)]
pub struct Positions {
    merged: Option<Vec<Bytes>>,
}

impl Positions {
    /// Takes a node's `result`. An answer that isn't an array (null: it can't say) adds nothing.
    pub fn add(&mut self, result: &Bytes) {
        let Some(theirs) = envelope::elements(result) else { return };
        let Some(ours) = &mut self.merged else {
            self.merged = Some(theirs);
            return;
        };
        // Bodies by range may come without the nulls at their end.
        for (i, element) in theirs.into_iter().enumerate() {
            match ours.get_mut(i) {
                None => ours.push(element),
                Some(have) if lacks(&element) < lacks(have) => *have = element,
                Some(_) => {}
            }
        }
    }

    /// Whether nothing is lacking any more, given that `wanted` positions were asked for (0: unknown).
    #[must_use]
    pub fn complete(&self, wanted: usize) -> bool {
        self.merged.as_ref().is_some_and(|m| m.len() >= wanted && m.iter().all(|e| lacks(e) == 0))
    }

    /// The merged `result`; null if no node had an array.
    #[must_use]
    pub fn result(&self) -> Bytes {
        match &self.merged {
            Some(merged) => array(merged.iter().map(AsRef::as_ref)),
            None => Bytes::from_static(b"null"),
        }
    }
}

/// How much is missing of a position: everything (`usize::MAX`), or so many nulls of a blob's `blob_cells`.
fn lacks(element: &Bytes) -> usize {
    if envelope::is_null(element) {
        return usize::MAX;
    }
    let cells = envelope::fields(element, ["blob_cells"]).and_then(|[cells]| envelope::elements(&cells?));
    cells.map_or(0, |cells| cells.iter().filter(|c| envelope::is_null(c)).count())
}

/// getClientVersion: the arrays of all nodes in one flat array (a MUST of identification.md).
#[must_use]
pub fn flat(results: &[Bytes]) -> Bytes {
    let all: Vec<Bytes> = results.iter().filter_map(envelope::elements).flatten().collect();
    array(all.iter().map(AsRef::as_ref))
}

/// exchangeCapabilities: what all of `results` offer, in the order of the first, never the method itself. An answer that isn't an
/// array of strings is left out; `None` if nothing is left.
#[must_use]
pub fn common_capabilities(results: &[Bytes]) -> Option<Bytes> {
    let lists: Vec<Vec<Bytes>> = results.iter().filter_map(envelope::elements).collect();
    let (first, others) = lists.split_first()?;
    let others: Vec<HashSet<&Bytes>> = others.iter().map(|list| list.iter().collect()).collect();
    let itself: &[u8] = b"\"engine_exchangeCapabilities\"";
    let common = first
        .iter()
        .filter(|method| method.as_ref() != itself && others.iter().all(|list| list.contains(*method)));
    Some(array(common.map(AsRef::as_ref)))
}

/// A payload that a node built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The node's place in the order given.
    pub place: usize,
    /// It is of the backup tier.
    pub backup: bool,
    /// `blockValue` in wei as hex digits without leading zeros; empty for getPayloadV1, which has none.
    pub value: String,
}

impl Built {
    /// Reads a getPayload `result`.
    #[must_use]
    pub fn read(place: usize, backup: bool, result: &Bytes) -> Self {
        let value = envelope::fields(result, ["blockValue"])
            .and_then(|[value]| envelope::string(&value?))
            .map(|text| {
                let digits = text.trim_start_matches("0x").trim_start_matches('0').to_ascii_lowercase();
                if digits.bytes().all(|b| b.is_ascii_hexdigit()) { digits } else { String::new() }
            })
            .unwrap_or_default();
        Self { place, backup, value }
    }

    /// Higher is better: primary tier before backup, then the value (256 bits, so compared by length and digits), then the
    /// order of the nodes.
    fn rank(&self) -> (bool, usize, &str, std::cmp::Reverse<usize>) {
        (!self.backup, self.value.len(), &self.value, std::cmp::Reverse(self.place))
    }
}

/// The payload to hand to the consensus client.
#[must_use]
pub fn best(built: &[Built]) -> Option<&Built> {
    built.iter().max_by(|a, b| a.rank().cmp(&b.rank()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(results: &[&'static str]) -> String {
        let mut positions = Positions::default();
        for result in results {
            positions.add(&Bytes::from(*result));
        }
        String::from_utf8_lossy(&positions.result()).into_owned()
    }

    #[test]
    fn positions_are_merged_and_null_only_if_none_has_an_array() {
        assert_eq!(merged(&[]), "null");
        assert_eq!(merged(&["null", "null"]), "null");
        assert_eq!(merged(&["null", "[null,{\"a\":1}]"]), "[null,{\"a\":1}]");
        assert_eq!(merged(&["[1,null,null]", "[null,2,null]", "[9,9,3]"]), "[1,2,3]");
        assert_eq!(merged(&["[1]", "[null,2]"]), "[1,2]");
        assert_eq!(merged(&["[]", "\"x\""]), "[]");
    }

    #[test]
    fn of_two_partial_blobs_the_one_with_more_cells() {
        let some = r#"[{"blob_cells":["0x1",null,null],"proofs":["0x1",null,null]}]"#;
        let more = r#"[{"blob_cells":["0x1","0x2",null],"proofs":["0x1","0x2",null]}]"#;
        assert_eq!(merged(&[some, more]), more);
        assert_eq!(merged(&[more, some]), more);
    }

    #[test]
    fn completeness() {
        let mut positions = Positions::default();
        assert!(!positions.complete(0));
        positions.add(&Bytes::from("[1,null]"));
        assert!(!positions.complete(2));
        positions.add(&Bytes::from("[null,2]"));
        assert!(positions.complete(2) && !positions.complete(3));
    }

    #[test]
    fn client_versions_are_flat() {
        let results =
            [Bytes::from("[{\"code\":\"GE\"}]"), Bytes::from("null"), Bytes::from("[{\"code\":\"RH\"},{}]")];
        assert_eq!(flat(&results), Bytes::from("[{\"code\":\"GE\"},{\"code\":\"RH\"},{}]"));
        assert_eq!(flat(&[]), Bytes::from("[]"));
    }

    #[test]
    fn capabilities_never_promise_what_a_voter_lacks() {
        let a = Bytes::from(r#"["engine_newPayloadV4","engine_exchangeCapabilities","engine_getPayloadV5"]"#);
        let b = Bytes::from(r#"["engine_getPayloadV5","engine_newPayloadV4","engine_newPayload"]"#);
        let c = Bytes::from(r#"["engine_getPayloadV5"]"#);
        let common = |lists: &[&Bytes]| {
            common_capabilities(&lists.iter().map(|b| (*b).clone()).collect::<Vec<_>>())
                .map(|b| String::from_utf8_lossy(&b).into_owned())
        };
        assert_eq!(common(&[&a, &b]).as_deref(), Some(r#"["engine_newPayloadV4","engine_getPayloadV5"]"#));
        assert_eq!(common(&[&a, &b, &c]).as_deref(), Some(r#"["engine_getPayloadV5"]"#));
        assert_eq!(common(&[&a]).as_deref(), Some(r#"["engine_newPayloadV4","engine_getPayloadV5"]"#));
        assert_eq!(common(&[&Bytes::from("null")]), None);
    }

    fn built(place: usize, backup: bool, value: &str) -> Built {
        Built::read(
            place,
            backup,
            &Bytes::from(format!(r#"{{"executionPayload":{{}},"blockValue":"{value}"}}"#)),
        )
    }

    #[test]
    fn the_highest_value_wins_ties_by_node_order_backups_only_alone() {
        let place = |all: &[Built]| best(all).map(|b| b.place);
        assert_eq!(place(&[]), None);
        assert_eq!(
            place(&[built(0, false, "0x64"), built(1, false, "0x65"), built(2, false, "0x1")]),
            Some(1)
        );
        assert_eq!(place(&[built(1, false, "0x65"), built(0, false, "0x65")]), Some(0));
        assert_eq!(place(&[built(0, false, "0xff"), built(1, false, "0x100")]), Some(1));
        assert_eq!(place(&[built(0, false, "0x00ff"), built(1, false, "0xfe")]), Some(0));
        assert_eq!(place(&[built(0, true, "0xffff"), built(1, false, "0x0")]), Some(1));
        assert_eq!(place(&[built(0, true, "0xffff")]), Some(0));
        let v1 = Built::read(0, false, &Bytes::from_static(b"{\"blockHash\":\"0x1\"}"));
        assert_eq!(place(&[v1, built(1, false, "0x1")]), Some(1));
    }

    proptest! {
        #[test]
        fn values_compare_as_numbers(a: u128, b: u128) {
            let all = [built(0, false, &format!("0x{a:x}")), built(1, false, &format!("0x{b:x}"))];
            prop_assert_eq!(best(&all).map(|b| b.place), Some(usize::from(b > a)));
        }
    }
}
