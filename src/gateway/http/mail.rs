//! A mail over HTTP, as `tautline sendmail` hands it over: its recipients say which routes it is for.

use super::answer::{Answer, Problem};
use super::auth::Scope;
use super::call::{Call, Outcome};
use super::publish::{attach, parse, receive_mail};
use crate::dialect::{Parsed, mail};
use crate::gateway::api::Mailed;
use crate::gateway::{query, recipients};

/// Recipients that are looked at.
const RECIPIENTS_MAX: usize = 100;

/// `POST /v1/mail`. The same key on every route: a mail that is handed over again goes where it has not been.
pub(super) async fn mail(mut call: Call<'_, '_>) -> Outcome {
    let (body, beside) = receive_mail(&mut call).await?;
    let (context, head) = (call.context, &call.request.head);
    let named = query::decode(&head.query).pairs.into_iter();
    let to = named.filter(|(name, _)| name == "to").map(|(_, value)| value);
    let to: Vec<String> = to.take(RECIPIENTS_MAX).collect();
    let routes = recipients::routes(&context.mail, &context.relay.routes(), &to)
        .map_err(|why| Problem::new(400, why).at("to"))?;
    // A token may be for some of them alone.
    for route in &routes {
        call.route(route.as_str())?;
    }
    let mut parsed = parse(context, mail::parse, routes.first(), head, &body)?;
    let held = attach(context, &mut parsed, body, beside).await;
    let Parsed { alerts, warnings, .. } = parsed;
    let mut all = Vec::new();
    if !alerts.is_empty() {
        let parts = routes.into_iter().map(|route| (route, alerts.clone())).collect();
        let accepted = context.relay.publish_with_files(parts, held).await?;
        // For each route an answer for each alert.
        for (accepted, mine) in accepted.into_iter().zip(alerts.iter().cycle()) {
            let may_read = call.caller.may(Scope::Read, Some(&accepted.alert.route));
            let accepted = if may_read {
                accepted
            } else {
                accepted.without_the_first(mine)
            };
            all.push(accepted.published(None, Vec::new()));
        }
    }
    Ok(Answer::json(200, &Mailed::new(all, &warnings)))
}
