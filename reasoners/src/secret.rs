//! Credentials are read where they are used, and a [`Mask`] that has taken one takes it out of every text of that request.
//!
//! Deliberately absent: keeping them. An editor breaks this by putting a text from the other side (a body, a header, an error) into a
//! fault, an answer or a log line without [`Mask::clean`].

use homeostat_model::{Mask, Secret};

/// Reads the secret now, and lets the mask know it. The error names the reference, never a value.
pub(crate) fn take(mask: &mut Mask, secret: &Secret) -> Result<String, String> {
    mask.take(secret, |name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))
}
