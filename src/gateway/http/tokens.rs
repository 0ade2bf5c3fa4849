//! Tokens: making, listing and revoking them, on the control socket alone.

use std::str::FromStr;

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::publish;
use crate::access::{Grant, Right, Routes};
use crate::alert::NameError;
use crate::gateway::api::NewToken;

/// `GET /v1/tokens`.
pub(super) fn list(call: &Call<'_, '_>) -> Outcome {
    Ok(Answer::json(200, &call.context.relay.tokens()))
}

/// `POST /v1/tokens`.
pub(super) async fn make(mut call: Call<'_, '_>) -> Outcome {
    let body = publish::receive(&mut call).await?;
    let new: NewToken = serde_json::from_slice(&body.kept)
        .map_err(|error| Problem::new(400, format!("the body is no token to be made: {error}")).at("body"))?;
    let grant = Grant {
        name: parsed(&new.name, "name")?,
        rights: new
            .rights
            .iter()
            .map(|right| parsed::<Right>(right, "rights"))
            .collect::<Result<_, _>>()?,
        routes: match &new.routes {
            None => Routes::All,
            Some(routes) if routes.is_empty() => {
                let error = "a token for no route is of no use: name some, or leave it out for all of them";
                return Err(Problem::new(400, error).at("routes"));
            }
            Some(routes) => Routes::Only(routes.iter().map(|route| call.route(route)).collect::<Result<_, _>>()?),
        },
    };
    if grant.rights.iter().next().is_none() {
        return Err(Problem::new(400, "a token without a right is of no use").at("rights"));
    }
    if new.expires_in_ms == Some(0) {
        return Err(Problem::new(400, "a token that ends at once is of no use").at("expires_in_ms"));
    }
    let issued = call.context.relay.new_token(grant, new.expires_in_ms).await?;
    Ok(Answer::json(200, &issued))
}

/// `DELETE /v1/tokens/{name}`.
pub(super) async fn revoke(call: Call<'_, '_>, name: String) -> Outcome {
    call.context.relay.revoke_token(&name).await?;
    // Another one of this name later is not theirs.
    call.context.logins.end_of(&name);
    Ok(Answer::json(200, &serde_json::json!({ "revoked": name })))
}

fn parsed<T: FromStr<Err = NameError>>(text: &str, field: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error: NameError| Problem::new(400, error.0).at(field))
}
