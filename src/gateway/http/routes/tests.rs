use super::*;

fn found(path: &str) -> &'static str {
    let segments = segments_of(path);
    let found = ENDPOINTS.iter().find(|endpoint| endpoint.matches(&segments).is_some());
    found.map_or("", |endpoint| endpoint.path)
}

#[test]
fn the_first_path_that_fits_is_a_requests_own() {
    for (path, expected) in [
        ("/", "/"),
        ("//", "/"),
        ("/family", "/{route}"),
        ("//family/", "/{route}"),
        ("/family/publish", "/{route}/publish"),
        ("/family,ops/json", "/{topics}/json"),
        ("/v1/status", "/v1/status"),
        ("/v1/alerts/x", "/v1/alerts/{id}"),
        ("/v1/alerts/x/retry", "/v1/alerts/{id}/retry"),
        ("/v1/alerts/x/ack", "/v1/alerts/{id}/ack"),
        ("/v1/hooks/slack/family", "/v1/hooks/{dialect}/{route}"),
        ("/message", "/message"),
        ("/notify/family", "/notify/{route}"),
        ("/notify", "/notify"),
        ("/1/messages.json", "/1/messages.json"),
        ("/1/publish", "/{route}/publish"),
        ("/family/AAAAAAAAAAAA", "/{route}/{id}"),
        // It is nobody's: the first segment is no route's.
        ("/v1/nothing", "/{route}/{id}"),
        ("/a/b/c", ""),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn every_endpoint_can_be_reached_and_none_hides_a_route() {
    for endpoint in ENDPOINTS {
        assert_eq!(found(endpoint.path), endpoint.path, "hidden by a row before it");
        let segments = segments_of(endpoint.path);
        if let Some(first) = segments.first().filter(|first| !first.starts_with('{')) {
            // No alert is called as a fixed segment is.
            let of_routes = |other: &Endpoint| {
                let is_of_routes = other.path.starts_with("/{") && !other.path.ends_with("{id}");
                is_of_routes && other.matches(&segments).is_some()
            };
            let hides = ENDPOINTS.iter().any(of_routes);
            assert!(!hides || is_reserved(first), "{first} hides a route");
        }
        let open: Vec<_> = segments.iter().filter(|segment| segment.starts_with('{')).collect();
        match endpoint.handler {
            Handler::Fixed(_) => assert!(open.is_empty(), "{}", endpoint.path),
            Handler::Named(_) => assert!(open.len() == 1 && *open[0] != "{route}", "{}", endpoint.path),
            Handler::Alert(_) => assert_eq!(open, [&"{id}"], "{}", endpoint.path),
            Handler::Route(_) => assert_eq!(open, [&"{route}"], "{}", endpoint.path),
            Handler::Item(_) => assert_eq!(open, [&"{route}", &"{id}"], "{}", endpoint.path),
            Handler::Hook(_) => assert_eq!(open, [&"{dialect}", &"{route}"], "{}", endpoint.path),
        }
    }
}

#[test]
fn a_method_is_answered_once_and_showing_has_a_head() {
    for (index, endpoint) in ENDPOINTS.iter().enumerate() {
        for method in endpoint.methods {
            let again = |later: &&Endpoint| later.path == endpoint.path && later.methods.contains(method);
            assert!(
                !ENDPOINTS[index + 1..].iter().any(|later| again(&later)),
                "{method} {}",
                endpoint.path
            );
        }
        let is_page = endpoint.scope == Scope::Nothing && endpoint.methods == READ;
        let shows = is_page || matches!(endpoint.scope, Scope::Any | Scope::Read);
        assert_eq!(
            shows,
            endpoint.methods == READ && endpoint.path != "/v1/chats" || endpoint.path == "/1/users/validate.json",
            "{}",
            endpoint.path
        );
    }
    assert_eq!(allowed("/v1/alerts/{id}"), "GET, HEAD, DELETE");
}

#[test]
fn ntfys_clients_are_told_of_errors_in_its_words() {
    for path in ["/", "/family", "/family/json", "/v1/account", "/v1/version"] {
        assert!(is_ntfys(&segments_of(path)), "{path}");
    }
    for path in [
        "/v1/alerts/x",
        "/v1/hooks/json/family",
        "/message",
        "/1/messages.json",
        "/notify/family",
    ] {
        assert!(!is_ntfys(&segments_of(path)), "{path}");
    }
}
