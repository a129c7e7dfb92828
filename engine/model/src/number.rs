//! Numbers in JSON that may be infinite or not a number: written as `"+Inf"`, `"-Inf"`, `"NaN"`, as Prometheus writes them.
//!
//! JSON has no such numbers and `serde_json` would write `null`, which cannot be read back; the journal must be read back exactly.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number, or its Prometheus text where JSON has none.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        return value.serialize(serializer);
    }
    serializer.serialize_str(if value.is_nan() {
        "NaN"
    } else if *value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    })
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Finite(value) => Ok(value),
        Number::Text(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "+Inf" => Ok(f64::INFINITY),
            "-Inf" => Ok(f64::NEG_INFINITY),
            _ => Err(serde::de::Error::custom(format!("`{text}` is not a number: expected a number, \"NaN\", \"+Inf\" or \"-Inf\""))),
        },
    }
}
