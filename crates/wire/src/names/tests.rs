use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

use super::*;

fn der(alternatives: Vec<SanType>, common: Vec<DnValue>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternatives;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Nobody");
    for name in common {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn names(alternatives: Vec<SanType>, common: Vec<DnValue>) -> Vec<String> {
    PeerNames::of(&der(alternatives, common)).iter().map(str::to_owned).collect()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn utf8(name: &str) -> DnValue {
    DnValue::Utf8String(name.to_owned())
}

#[test]
fn names_are_the_alternatives_then_the_common_name() {
    let uri = SanType::URI("spiffe://example/Node-A".try_into().unwrap());
    let all = names(vec![dns("Node-A.Example"), uri], vec![utf8("Node A")]);
    assert_eq!(all, ["node-a.example", "spiffe://example/Node-A", "Node A"]);
    assert_eq!(names(vec![], vec![utf8("node-a")]), ["node-a"]);
    assert_eq!(names(vec![], vec![DnValue::PrintableString("node-a".try_into().unwrap())]), ["node-a"]);
    assert_eq!(names(vec![dns("node-a")], vec![utf8("node-a")]), ["node-a"], "told once");
    assert_eq!(names(vec![], vec![]), [""; 0]);
}

#[test]
fn what_cannot_be_a_name_is_left_out() {
    assert_eq!(names(vec![], vec![utf8("a\nb")]), [""; 0]);
    assert_eq!(names(vec![], vec![utf8(&"a".repeat(257))]), [""; 0]);
    assert_eq!(PeerNames::of(b"no certificate"), PeerNames::default());
    let mut cut = der(vec![dns("node-a")], vec![]);
    cut.truncate(100);
    assert_eq!(PeerNames::of(&cut), PeerNames::default());
}

#[test]
fn no_more_than_64_names_of_a_certificate_are_looked_at() {
    let many = (0..70).map(|n| dns(&format!("n{n}"))).collect();
    let all = names(many, vec![utf8("last")]);
    assert_eq!((all.len(), &*all[63]), (64, "n63"));
    assert_eq!(names(vec![], vec![utf8(&"a".repeat(256))]).len(), 1, "the longest");
}

#[test]
fn names_are_compared_letter_for_letter() {
    let names: PeerNames = ["node-a", "Node B", "*.example"].into_iter().collect();
    for (name, is) in [
        ("node-a", true),
        ("NODE-A", true),
        ("Node B", true),
        ("node b", false),
        ("node-a.example", false),
        ("node", false),
        ("", false),
    ] {
        assert_eq!(names.contains(name), is, "{name}");
    }
}
