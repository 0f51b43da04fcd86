//! As much of CBOR (RFC 8949) as evidence has: definite lengths, nothing taken apart that isn't asked for.
//!
//! Read without recursion, and each step takes a byte of the input at least: neither depth nor counts in it cost anything.

type Read<T> = Result<T, String>;

/// What is left to read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn uint(&mut self) -> Read<u64> {
        self.expect(0, "an unsigned number")
    }

    pub(super) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.expect(2, "a byte string")?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        let length = self.expect(3, "a text")?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "CBOR: a text is not UTF-8".to_owned())
    }

    /// How many items follow.
    pub(super) fn array(&mut self) -> Read<u64> {
        self.expect(4, "an array")
    }

    /// How many pairs follow.
    pub(super) fn map(&mut self) -> Read<u64> {
        self.expect(5, "a map")
    }

    pub(super) fn tag(&mut self) -> Read<u64> {
        self.expect(6, "a tag")
    }

    /// Passes over an item with all that is in it.
    pub(super) fn skip(&mut self) -> Read<()> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let (major, argument) = self.head()?;
            let within = match major {
                2 | 3 => {
                    self.take(argument)?;
                    0
                }
                4 => argument,
                5 => argument.saturating_mul(2),
                6 => 1,
                _ => 0,
            };
            left = left.saturating_add(within);
        }
        Ok(())
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Read<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!("CBOR: {left} bytes too many")),
        }
    }

    fn expect(&mut self, major: u8, what: &str) -> Read<u64> {
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            (found, _) => Err(format!("CBOR: expected {what}, found major type {found}")),
        }
    }

    /// Major type and argument of an item.
    fn head(&mut self) -> Read<(u8, u64)> {
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            size @ 24..=27 => {
                let bytes = self.take(1 << (size - 24))?;
                bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            31 => return Err("CBOR: of indefinite length".to_owned()),
            _ => return Err(format!("CBOR: no item begins with {first:#04x}")),
        };
        Ok((first >> 5, argument))
    }

    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err("CBOR: ends too early".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_are_read_as_the_rfc_writes_them() {
        // From its appendix A.
        for (bytes, number) in [
            (&[0x17][..], 23),
            (&[0x18, 0x64], 100),
            (&[0x19, 0x03, 0xe8], 1_000),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], 1_000_000),
            (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], u64::MAX),
        ] {
            let mut reader = Reader::new(bytes);
            assert_eq!((reader.uint(), reader.end()), (Ok(number), Ok(())));
        }
        assert_eq!(Reader::new(&[0x44, 1, 2, 3, 4]).bytes(), Ok(&[1, 2, 3, 4][..]));
        assert_eq!(Reader::new(&[0x62, 0xc3, 0xbc]).text(), Ok("ü"));
        assert_eq!(Reader::new(&[0xd9, 0xea, 0x60]).tag(), Ok(60_000));
    }

    #[test]
    fn an_item_is_passed_over_whole() {
        // {"a": [1, -2, 1.5, h'00', {_: tag}], …} with floats, simple values and tags in it.
        let item =
            [0xa1, 0x61, 0x61, 0x86, 0x01, 0x21, 0xf9, 0x3e, 0x00, 0x41, 0x00, 0xa1, 0xf6, 0xc1, 0x00, 0xf5];
        for length in 0..item.len() {
            assert!(Reader::new(&item[..length]).skip().is_err(), "{length}");
        }
        let mut reader = Reader::new(&item);
        assert_eq!((reader.skip(), reader.end()), (Ok(()), Ok(())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (bytes, part) in [
            (&[][..], "ends too early"),
            (&[0x5f, 0x41, 0x00, 0xff], "indefinite"),
            (&[0x5c], "no item begins with 0x5c"),
            (&[0x42, 0x00], "ends too early"),
            (&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "ends too early"),
            (&[0x60], "expected a byte string, found major type 3"),
        ] {
            let error = Reader::new(bytes).bytes().unwrap_err();
            assert!(error.contains(part), "{bytes:?} gave {error}");
        }
        assert!(Reader::new(&[0x61, 0xff]).text().unwrap_err().contains("UTF-8"));
        assert!(Reader::new(&[0]).end().unwrap_err().contains("1 bytes too many"));
    }

    #[test]
    fn neither_depth_nor_counts_cost_anything() {
        for bomb in [
            vec![0x81; 1 << 20],
            vec![0xd8; 1 << 20],
            [0xbb].into_iter().chain([0xff; 8]).cycle().take(1 << 20).collect(),
        ] {
            assert!(Reader::new(&bomb).skip().is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Reader::new(&bytes).skip();
            let _ = Reader::new(&bytes).text();
        }
    }
}
