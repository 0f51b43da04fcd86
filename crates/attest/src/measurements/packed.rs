//! JSON in a URI: padded base64url of gzip, bounded both ways.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use flate2::bufread::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::MeasurementsError;

/// Of the packed part, in bytes. Measurements of all 24 PCRs take 1.
const MAX_PACKED: usize = 32 * 1024;
/// Of what it unpacks to, in bytes.
const MAX_JSON: u64 = 64 * 1024;

pub(super) fn unpack(part: &str) -> Result<Vec<u8>, MeasurementsError> {
    if part.is_empty() {
        return Err(MeasurementsError::new(
            "there are no measurements behind the prefix: `mainstay attest encode measurements.json` makes them",
        ));
    }
    if part.len() > MAX_PACKED {
        return Err(too_long());
    }
    let packed = URL_SAFE.decode(part).map_err(|why| {
        MeasurementsError::new(format!("the measurements aren't base64url with its padding: {why}"))
    })?;
    let mut json = Vec::new();
    MultiGzDecoder::new(&packed[..])
        .take(MAX_JSON + 1)
        .read_to_end(&mut json)
        .map_err(|why| MeasurementsError::new(format!("the measurements aren't gzip: {why}")))?;
    if json.len() as u64 > MAX_JSON {
        return Err(too_long());
    }
    Ok(json)
}

/// The same JSON gives the same part: no time nor name goes into it.
pub(super) fn pack(json: &[u8]) -> Result<String, MeasurementsError> {
    if json.len() as u64 > MAX_JSON {
        return Err(too_long());
    }
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    let packed = gzip.write_all(json).and_then(|()| gzip.finish());
    let packed =
        packed.map_err(|why| MeasurementsError::new(format!("the measurements can't be packed: {why}")))?;
    let part = URL_SAFE.encode(packed);
    if part.len() > MAX_PACKED { Err(too_long()) } else { Ok(part) }
}

fn too_long() -> MeasurementsError {
    MeasurementsError::new("the measurements are too long: 32 KiB is the most in a URI, 64 KiB unpacked")
}
