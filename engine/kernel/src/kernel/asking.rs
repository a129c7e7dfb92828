//! Questions of people to the windows: see [`crate::policy::ask`]. Nothing in the loop depends on them.

use super::Kernel;
use crate::policy::ask::{Answered, NoAnswer, Question};
use std::sync::Arc;

impl Kernel {
    /// Answers a question by the windows as they are now, within the limits of an evaluation. Changes nothing, wishes nothing.
    ///
    /// # Errors
    /// The question is wrong, reaches a limit, or rests on a reading without a value.
    pub fn answer(&self, question: &Question) -> Result<Answered, NoAnswer> {
        self.host.ask(question, self.now, None, &Arc::default())
    }
}
