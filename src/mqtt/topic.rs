//! Topics: names and filters as MQTT has them, and those that Tautline speaks on.

/// What all topics of Tautline's own begin with.
pub const ROOT: &str = "tautline";

/// The filter of all topics to publish alerts on.
pub const PUBLISH_FILTER: &str = "tautline/+/publish";

/// Bytes of a topic, as its length on the wire allows.
const BYTES_MAX: usize = u16::MAX as usize;

/// Whether a message can be published there: it is not empty, has no wildcard and no NUL.
pub fn is_name(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= BYTES_MAX && !topic.contains(['+', '#', '\0'])
}

/// Whether it can be subscribed to: `+` stands for a level alone, `#` for all that are left.
pub fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let fits = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        level => !level.contains(['+', '#', '\0']),
    };
    !filter.is_empty() && filter.len() <= BYTES_MAX && levels.iter().enumerate().all(fits)
}

/// Whether a message on `topic` is for those who subscribe to `filter`.
pub fn matches(filter: &str, topic: &str) -> bool {
    // What begins with `$` is the broker's own, and meant by name alone.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            (_, Some(_)) => return false,
        }
    }
    levels.next().is_none()
}

/// The route that `tautline/<route>/publish` names.
pub fn route(topic: &str) -> Option<&str> {
    let route = topic.strip_prefix("tautline/")?.strip_suffix("/publish")?;
    (!route.is_empty() && !route.contains('/')).then_some(route)
}

/// Where alerts for a route are published.
pub fn publish(route: &str) -> String {
    format!("{ROOT}/{route}/publish")
}

/// Where a node says how it is, as JSON, retained.
pub fn state(node: &str) -> String {
    format!("{ROOT}/{node}/state")
}

/// Where a node says what health finds, as JSON, retained.
pub fn health(node: &str) -> String {
    format!("{ROOT}/{node}/health")
}

/// Where the name of a route is published that a node is to test.
pub fn test(node: &str) -> String {
    format!("{ROOT}/{node}/test")
}

/// Where a node says whether it is there: `online` or `offline`, retained.
pub fn status(node: &str) -> String {
    format!("{ROOT}/{node}/status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_route() {
        assert_eq!(route("tautline/family/publish"), Some("family"));
        for topic in [
            "tautline//publish",
            "tautline/a/b/publish",
            "tautline/publish",
            "tautline/family/publish/x",
            "other/family/publish",
            "tautline/family",
        ] {
            assert_eq!(route(topic), None, "{topic}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, is) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("#", "a/b", true),
            ("+/b", "/b", true),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
        ] {
            assert_eq!(matches(filter, topic), is, "{filter} {topic}");
        }
        for (filter, is) in [
            ("a/+/b", true),
            ("#", true),
            ("a/#/b", false),
            ("a+", false),
            ("", false),
            ("a/b#", false),
        ] {
            assert_eq!(is_filter(filter), is, "{filter}");
        }
    }

    #[test]
    fn names_have_no_wildcards() {
        assert!(is_name("tautline/family/publish") && is_name("/") && is_name("a b"));
        for topic in ["", "a/+", "#", "a\0b"] {
            assert!(!is_name(topic), "{topic:?}");
        }
        assert!(!is_name(&"x".repeat(BYTES_MAX + 1)));
    }
}
