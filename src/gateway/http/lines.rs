//! The ends of lines and the starts of the relay: `GET /v1/lines`.

use super::answer::Answer;
use super::call::{Call, Outcome};

/// Without `limit`, and at most with it: a day of a busy line, and all that one session keeps.
const LINES_DEFAULT: usize = 50;
const LINES_MAX: usize = 1000;

/// `GET /v1/lines`.
pub(super) fn list(call: &Call<'_, '_>) -> Outcome {
    let query = call.query()?;
    let limit = query.limit(LINES_DEFAULT, LINES_MAX)?;
    Ok(Answer::json(200, &call.context.relay.lines(query.session()?, limit)?))
}
