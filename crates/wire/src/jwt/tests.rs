#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::*;

const HEX: &str = "7365637265747365637265747365637265747365637265747365637265743131";

fn secret() -> Secret {
    Secret::from_hex(HEX).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A token with any header and claims, rightly signed with HMAC-SHA-256.
fn token(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secretsecretsecretsecretsecret11");
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn hs256(claims: &str) -> String {
    token(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

#[test]
fn what_is_signed_verifies_and_keeps_id_and_clv() {
    let claims =
        Claims { iat: 1_700_000_000, id: Some("cl".to_owned()), clv: Some("Lodestar/v1.22".to_owned()) };
    let token = sign(&secret(), &claims);
    assert_eq!(verify(&secret(), &token, at(1_700_000_000)), Ok(claims));
}

#[test]
fn the_example_of_rfc_7515_verifies() {
    // Appendix A.1: its key has 64 bytes, so the provider is checked below `Secret`.
    let provider = jsonwebtoken::DecodingKey::from_base64_secret(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ+EstJQLr/T+1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==",
    )
    .unwrap();
    let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    provider::install();
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let good = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &provider, Algorithm::HS256);
    assert_eq!(good, Ok(true));
}

#[test]
fn iat_may_be_sixty_seconds_off() {
    let token = sign(&secret(), &Claims::at(at(1_000)));
    for (now, expected) in [
        (940, None),
        (1_060, None),
        (939, Some(TokenError::Skew(61))),
        (1_061, Some(TokenError::Skew(-61))),
        (0, Some(TokenError::Skew(1_000))),
    ] {
        assert_eq!(verify(&secret(), &token, at(now)).err(), expected, "{now}");
    }
    assert!(TokenError::Skew(-61).to_string().contains("61 s behind"));
}

#[test]
fn unknown_claims_and_exp_are_ignored() {
    for claims in [
        r#"{"iat":1000,"exp":1}"#,
        r#"{"iat":1000,"exp":"soon","nbf":99999}"#,
        r#"{"iat":1000,"aud":"x","iss":["y"],"sub":7,"other":{"deep":[1]}}"#,
        r#"{"iat":1000.25}"#,
        r#"{"iat":1000,"id":7,"clv":null}"#,
    ] {
        let verified = verify(&secret(), &hs256(claims), at(1_000));
        assert_eq!(verified, Ok(Claims { iat: 1_000, id: None, clv: None }), "{claims}");
    }
}

#[test]
fn iat_must_be_a_number() {
    for claims in [r#"{}"#, r#"{"iat":"1000"}"#, r#"{"iat":null}"#, r#"{"iat":-1}"#, r#"{"iat":[1000]}"#] {
        assert_eq!(verify(&secret(), &hs256(claims), at(1_000)), Err(TokenError::NoIssuedAt), "{claims}");
    }
    assert_eq!(verify(&secret(), &hs256(r#"{"iat":1000,"iat":1}"#), at(1_000)), Err(TokenError::Malformed));
    assert!(matches!(verify(&secret(), &hs256(r#"{"iat":1e300}"#), at(1_000)), Err(TokenError::Skew(_))));
}

#[test]
fn only_hs256_is_let_in() {
    for algorithm in ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""] {
        let token = token(&format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#), r#"{"iat":1000}"#);
        let error = verify(&secret(), &token, at(1_000)).unwrap_err();
        assert!(matches!(error, TokenError::Algorithm | TokenError::Malformed), "{algorithm}: {error:?}");
    }
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"iat":1000}"#)
    );
    assert!(verify(&secret(), &unsigned, at(1_000)).is_err());
}

#[test]
fn another_secret_or_a_changed_token_is_refused() {
    let other = Secret::from_hex(&"11".repeat(32)).unwrap();
    let good = hs256(r#"{"iat":1000}"#);
    assert_eq!(verify(&other, &good, at(1_000)), Err(TokenError::Signature));
    let (head, signature) = good.rsplit_once('.').unwrap();
    assert!(verify(&secret(), &format!("{head}."), at(1_000)).is_err());
    assert!(verify(&secret(), &format!("{head}.{}", &signature[..20]), at(1_000)).is_err());
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iat":1001}"#);
    let forged = format!("{}.{claims}.{signature}", head.split('.').next().unwrap());
    assert_eq!(verify(&secret(), &forged, at(1_000)), Err(TokenError::Signature));
}

#[test]
fn what_is_no_token() {
    for token in ["", ".", "..", "a.b", "a.b.c.d", "a b c", &"x".repeat(9_000)] {
        assert!(verify(&secret(), token, at(1_000)).is_err(), "{token:.10}");
    }
}

#[test]
fn bearer_headers() {
    let bearer_of = |text: &'static str| {
        let header = HeaderValue::from_static(text);
        bearer(Some(&header)).map(str::to_owned)
    };
    assert_eq!(bearer_of("Bearer abc"), Ok("abc".to_owned()));
    assert_eq!(bearer_of("bearer  abc "), Ok("abc".to_owned()));
    for bad in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
        assert_eq!(bearer_of(bad), Err(TokenError::NotBearer), "{bad}");
    }
    assert_eq!(bearer(None), Err(TokenError::Missing));
}

#[test]
fn secrets_are_read_as_clients_write_them() {
    let upper = HEX.to_uppercase();
    for text in [HEX.to_owned(), format!("0x{HEX}"), format!(" 0X{upper}\r\n"), format!("\n{HEX}\n")] {
        assert_eq!(Secret::from_hex(&text).unwrap(), secret());
    }
    assert_eq!(Secret::from_hex(&HEX[2..]).unwrap_err(), SecretError::Length(62));
    assert_eq!(Secret::from_hex(&format!("{HEX}00")).unwrap_err(), SecretError::Length(66));
    assert_eq!(Secret::from_hex("").unwrap_err(), SecretError::Length(0));
    assert_eq!(Secret::from_hex(&HEX.replace("31", "3x")).unwrap_err(), SecretError::NotHex(62));
}

#[test]
fn nothing_shows_a_secret() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "0xdeadbeef").unwrap();
    let error = Secret::from_file(file.path()).unwrap_err();
    assert!(error.to_string().contains("8 characters"), "{error}");
    assert!(!format!("{error} {error:?}").contains("dead"));
    assert_eq!(format!("{:?}", secret()), "Secret(redacted)");
    let missing = Secret::from_file(Path::new("/nowhere/jwt.hex")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the JWT secret /nowhere/jwt.hex:"), "{missing}");
}

#[test]
fn a_secret_is_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "0x{HEX}").unwrap();
    assert_eq!(Secret::from_file(file.path()).unwrap(), secret());
}

#[test]
fn a_token_seen_again_is_checked_again_for_its_time_and_its_every_byte() {
    let secret = secret();
    let claims = Claims { iat: 1_700_000_000, id: Some("cl".to_owned()), clv: None };
    let token = sign(&secret, &claims);
    for _ in 0..3 {
        assert_eq!(verify(&secret, &token, at(1_700_000_060)), Ok(claims.clone()));
    }
    assert_eq!(verify(&secret, &token, at(1_700_000_061)), Err(TokenError::Skew(-61)));
    for place in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        // The last character of base64 holds bits that don't count; decoders differ on them.
        if place + 1 < token.len() {
            assert!(verify(&secret, &forged, at(1_700_000_000)).is_err(), "changed at {place}");
        }
        assert_eq!(verify(&secret, &token, at(1_700_000_000)), Ok(claims.clone()));
    }
    assert!(verify(&secret, &token[..token.len() - 1], at(1_700_000_000)).is_err());
}

#[test]
fn what_was_signed_before_is_not_given_for_other_claims() {
    let secret = secret();
    let of = |iat, id: Option<&str>| Claims { iat, id: id.map(str::to_owned), clv: None };
    for claims in
        [of(1, None), of(1, Some("a")), of(1, Some("b")), of(2, Some("b")), of(1, None), of(1, None)]
    {
        let token = sign(&secret, &claims);
        assert_eq!(verify(&super::Secret::from_hex(HEX).unwrap(), &token, at(1)), Ok(claims));
    }
}
