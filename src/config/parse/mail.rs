//! The section `[mail]`.

use std::collections::HashSet;
use std::str::FromStr;

use toml::de::DeTable;

use super::reader::{At, LIST_MAX, Reader, Value};
use super::{Draft, KEYS_MAIL, sorted};
use crate::alert::RouteName;

/// Characters of an address, more than mail allows.
const ADDRESS_CHARS_MAX: usize = 320;

impl Reader<'_> {
    /// Reads the section into `draft`; `routes` are the names of the routes as they were written, valid or not.
    pub(super) fn mail(&mut self, draft: &mut Draft, value: Value, routes: &HashSet<String>) {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("mail", value, "a section [mail]");
            return;
        };
        self.look_for_unknown("mail", table, KEYS_MAIL);
        draft.mail_route = table
            .get("route")
            .and_then(|value| self.mail_route("mail.route", value, routes));
        draft.mail_routes = table.get("routes").and_then(|value| self.mail_routes(value, routes));
    }

    pub(super) fn mail_route(&mut self, key: &str, value: Value, routes: &HashSet<String>) -> Option<At<RouteName>> {
        let expected = format!("the name of a route: {}", sorted(routes));
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, &expected);
            return None;
        };
        if !routes.contains(text) {
            let text = format!("no route is named {text:?}; expected {expected}");
            self.fault(key, value.span(), text);
            return None;
        }
        // One that is no name is a fault where it stands as the route's.
        let name = RouteName::from_str(text).ok()?;
        Some(self.at(name, &value.span()))
    }

    fn mail_routes(&mut self, value: Value, routes: &HashSet<String>) -> Option<At<Vec<(String, RouteName)>>> {
        let key = "mail.routes";
        let Some(table): Option<&DeTable> = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table like { \"root@nas\" = \"ops\" }");
            return None;
        };
        if table.len() > LIST_MAX {
            let text = format!("has {} entries; expected at most {LIST_MAX}", table.len());
            self.fault(key, value.span(), text);
            return None;
        }
        let mut found: Vec<(String, RouteName)> = Vec::new();
        for (address, route) in table.iter() {
            let name: &str = address.get_ref();
            let key = format!("{key}.{}", name.escape_debug());
            let fits = !name.is_empty()
                && name.chars().nth(ADDRESS_CHARS_MAX).is_none()
                && !name.chars().any(|c| c.is_whitespace() || c.is_control());
            if !fits {
                let text = "is no address; expected one like \"root@nas\", or \"root\"";
                self.fault(&key, address.span(), text);
                continue;
            }
            if found.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                self.fault(&key, address.span(), "is the same address again; expected each once");
                continue;
            }
            let route = self.mail_route(&key, route, routes);
            found.extend(route.map(|route| (name.to_owned(), route.value)));
        }
        Some(self.at(found, &value.span()))
    }
}
