//! What goes into a transaction, packed as nodeos wants it.

/// Bytes in the order of a struct's fields.
#[derive(Clone, Debug, Default)]
pub struct Pack(Vec<u8>);

impl Pack {
    /// Raw bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Pack {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A varuint: a vector's count, a string's length.
    #[must_use]
    pub fn count(mut self, mut number: usize) -> Pack {
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                self.0.push(low);
                return self;
            }
            self.0.push(low | 0x80);
        }
    }

    /// A name.
    #[must_use]
    pub fn name(self, name: &str) -> Pack {
        self.raw(&self::name(name).to_le_bytes())
    }

    /// Bytes with their length before them.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Pack {
        self.count(bytes.len()).raw(bytes)
    }

    /// The whole.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// A name of at most twelve of `.12345a-z`, as a number.
pub fn name(text: &str) -> u64 {
    let symbol = |byte: u8| match byte {
        b'a'..=b'z' => u64::from(byte - b'a') + 6,
        b'1'..=b'5' => u64::from(byte - b'1') + 1,
        _ => 0,
    };
    let symbols = text.bytes().take(12).enumerate();
    symbols.fold(0, |name, (at, byte)| name | symbol(byte) << (59 - 5 * at))
}

/// One action, authorized by `eosio@active`.
#[derive(Clone, Debug)]
pub struct Action {
    /// What it calls on account `eosio`.
    pub name: &'static str,
    /// What it is called with.
    pub data: Vec<u8>,
}

impl Action {
    /// Puts a contract on `eosio`.
    pub fn set_code(wasm: &[u8]) -> Action {
        let data = Pack::default().name("eosio").raw(&[0, 0]).bytes(wasm);
        Action { name: "setcode", data: data.done() }
    }

    /// An account with one key.
    pub fn new_account(account: &str, key: &[u8]) -> Action {
        let authority = |data: Pack| {
            let data = data.raw(&1_u32.to_le_bytes()).count(1).raw(key).raw(&1_u16.to_le_bytes());
            data.count(0).count(0)
        };
        let data = authority(authority(Pack::default().name("eosio").name(account)));
        Action { name: "newaccount", data: data.done() }
    }

    /// A schedule of these producers, in their order, all with one key.
    pub fn set_producers(producers: &[&str], key: &[u8]) -> Action {
        let data = Pack::default().count(producers.len());
        let data = producers.iter().fold(data, |data, producer| data.name(producer).raw(key));
        Action { name: "setprods", data: data.done() }
    }

    /// A transaction of this action alone, not yet signed. `reference` is a block of the chain, in hex; `expiration` is in seconds since 1970.
    pub fn transaction(&self, expiration: u32, reference: [u8; 32]) -> Vec<u8> {
        // Number and prefix of the block: bytes 2 to 3, big-endian, and 8 to 11 as they are.
        let number = u16::from_be_bytes([reference[2], reference[3]]);
        Pack::default()
            .raw(&expiration.to_le_bytes())
            .raw(&number.to_le_bytes())
            .raw(&reference[8..12])
            .raw(&[0, 0, 0])
            .count(0)
            .count(1)
            .name("eosio")
            .name(self.name)
            .count(1)
            .name("eosio")
            .name("active")
            .bytes(&self.data)
            .count(0)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What a real node took, and another implementation's.
    const KNOWN: &str = include_str!("../../../../crates/antelope/tests/vectors/primitives.json");

    #[test]
    fn actions_are_packed_as_the_vectors_are() {
        let known: Value = serde_json::from_str(KNOWN).unwrap();
        let key = crate::nodeos::key::unhex(known["dev_key"]["public_packed"].as_str().unwrap()).unwrap();
        let wasm = include_str!("../../devnet/antelope/setprods_wasm.hex");
        let wasm = crate::nodeos::key::unhex(wasm.trim()).unwrap();
        let wanted = |name: &str| known["action_data"][name].as_str().unwrap().to_owned();
        let hex = |action: Action| crate::nodeos::key::hex(&action.data);
        assert_eq!(hex(Action::new_account("prodx", &key)), wanted("newaccount_prodx"));
        assert_eq!(hex(Action::set_code(&wasm)), wanted("setcode_eosio_setprods_wasm"));
        let three = Action::set_producers(&["prodx", "prody", "prodz"], &key);
        assert_eq!(hex(three), wanted("setprods_prodx_prody_prodz"));
    }

    #[test]
    fn names_and_counts_are_those_of_the_vectors() {
        let known: Value = serde_json::from_str(KNOWN).unwrap();
        for entry in known["names"].as_array().unwrap() {
            let text = entry["name"].as_str().unwrap();
            if text.len() <= 12 {
                assert_eq!(name(text).to_string(), entry["u64"].as_str().unwrap(), "{text}");
            }
        }
        for entry in known["varuint"].as_array().unwrap() {
            let packed = Pack::default().count(entry["value"].as_u64().unwrap() as usize).done();
            assert_eq!(crate::nodeos::key::hex(&packed), entry["hex"].as_str().unwrap());
        }
    }
}
