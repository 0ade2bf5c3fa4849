//! Whom a mail is for: from addresses to routes.

use crate::alert::RouteName;
use crate::alert::hygiene::one_line;
use crate::config::MailPlan;

/// The routes for the addresses of one mail, each once. An address that leads nowhere goes to the default route.
///
/// # Errors
/// In words: there is no default route, and either an address leads nowhere or there is none.
pub(super) fn routes(plan: &MailPlan, all: &[RouteName], to: &[String]) -> Result<Vec<RouteName>, String> {
    let default = || match (&plan.route, all) {
        (Some(route), _) => Some(route),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let mut routes: Vec<RouteName> = Vec::new();
    let mut nowhere = None;
    for address in to {
        match route(plan, all, address).or_else(default) {
            Some(route) if routes.contains(route) => {}
            Some(route) => routes.push(route.clone()),
            None => nowhere = Some(address),
        }
    }
    if to.is_empty() {
        routes.extend(default().cloned());
    }
    match (routes.is_empty(), nowhere) {
        // One that leads somewhere carries the mail.
        (false, _) => Ok(routes),
        (true, Some(address)) => Err(format!(
            "no route for {:?}: set `route` in [mail], or name the address in [mail.routes]",
            one_line(address)
        )),
        (true, None) => Err("the mail names nobody, and there are several routes: set `route` in [mail]".into()),
    }
}

/// The route of an address: by the whole of it, then by what stands before the `@`, then by a route of that name. What
/// follows a `+` there means nothing.
fn route<'r>(plan: &'r MailPlan, all: &'r [RouteName], address: &str) -> Option<&'r RouteName> {
    let address = address.trim().trim_matches(['<', '>']);
    let local = address.split('@').next().unwrap_or_default();
    let local = local.split('+').next().unwrap_or_default();
    let named = |wanted: &str| {
        let mut found = plan.routes.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, route)| route)
    };
    let of_that_name = || all.iter().find(|route| route.as_str().eq_ignore_ascii_case(local));
    named(address).or_else(|| named(local)).or_else(of_that_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(route: Option<&str>) -> MailPlan {
        let entry = |(address, route): (&str, &str)| (address.to_owned(), route.parse().unwrap());
        MailPlan {
            route: route.map(|route| route.parse().unwrap()),
            routes: [("root", "ops"), ("Root@nas", "family"), ("bob@example.org", "ops")]
                .map(entry)
                .to_vec(),
        }
    }

    fn of(plan: &MailPlan, all: &[&str], to: &[&str]) -> Result<String, String> {
        let all: Vec<RouteName> = all.iter().map(|name| name.parse().unwrap()).collect();
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        let routes = routes(plan, &all, &to)?;
        let routes: Vec<&str> = routes.iter().map(RouteName::as_str).collect();
        Ok(routes.join(" "))
    }

    #[test]
    fn an_address_leads_to_the_route_that_says_most_of_it() {
        let all = ["family", "ops"];
        for (to, expected) in [
            (&["root"][..], "ops"),
            (&["root@NAS"], "family"),
            (&["root@elsewhere"], "ops"),
            (&["family@tautline"], "family"),
            (&["<Family+disk@tautline>"], "family"),
            (&["bob@example.org", "root", "family"], "ops family"),
            (&["nobody@x", "ops"], "ops"),
        ] {
            assert_eq!(of(&plan(None), &all, to).unwrap(), expected, "{to:?}");
        }
    }

    #[test]
    fn what_leads_nowhere_goes_to_the_default_route() {
        let all = ["family", "ops"];
        assert_eq!(of(&plan(Some("ops")), &all, &["nobody@x"]).unwrap(), "ops");
        assert_eq!(of(&plan(Some("ops")), &all, &[]).unwrap(), "ops");
        assert_eq!(of(&MailPlan::default(), &["family"], &["nobody"]).unwrap(), "family");
        assert!(of(&plan(None), &all, &["nobody@x"]).unwrap_err().contains("nobody@x"));
        assert!(of(&plan(None), &all, &[]).unwrap_err().contains("names nobody"));
        assert!(of(&MailPlan::default(), &[], &["x"]).is_err());
    }
}
