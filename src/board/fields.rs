//! The numbers that a board's file holds: their names, units and sane ranges, once for the build and for the program.
//!
//! `build.rs` compiles this very file, so it may use nothing of the crate but the schedule.

use std::time::Duration;

use super::schedule::{ApplicationSchedule, RedialSchedule, Schedule, StepDeadlines, TcpSchedule, WebSocketSchedule};

/// One number of a board's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub section: &'static str,
    /// Its unit is the last part of its name.
    pub key: &'static str,
    /// What is certainly a slip outside of this; the rules are stricter.
    pub min: u64,
    pub max: u64,
}

macro_rules! fields {
    ($($name:ident = $section:ident . $key:ident, $min:literal to $max:literal;)*) => {
        /// A board's numbers, each named `section_key`, as its file has them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Values { $(pub $name: u64,)* }

        /// Every number there is, in the order of the files.
        pub const FIELDS: [Field; [$(stringify!($name)),*].len()] = [
            $(Field { section: stringify!($section), key: stringify!($key), min: $min, max: $max },)*
        ];

        impl Values {
            /// The numbers in the order of [`FIELDS`].
            pub fn list(&self) -> [u64; FIELDS.len()] {
                [$(self.$name),*]
            }

            /// From numbers in the order of [`FIELDS`].
            pub const fn from_list(list: [u64; FIELDS.len()]) -> Self {
                let [$($name),*] = list;
                Self { $($name),* }
            }
        }
    };
}

fields! {
    path_nat_s = path.nat_s, 10 to 86400;
    path_recovery_s = path.recovery_s, 1 to 25;
    path_messages_per_hour = path.messages_per_hour, 1 to 3600;
    tcp_idle_s = tcp.idle_s, 1 to 7200;
    tcp_interval_s = tcp.interval_s, 1 to 600;
    tcp_count = tcp.count, 1 to 20;
    tcp_user_timeout_s = tcp.user_timeout_s, 1 to 900;
    websocket_ping_s = websocket.ping_s, 1 to 3600;
    websocket_pong_s = websocket.pong_s, 1 to 600;
    application_ping_min_s = application.ping_min_s, 1 to 3600;
    application_ping_max_s = application.ping_max_s, 1 to 3600;
    application_pong_s = application.pong_s, 1 to 600;
    application_presence_s = application.presence_s, 30 to 86400;
    application_probe_s = application.probe_s, 30 to 86400;
    application_offline_drain_s = application.offline_drain_s, 5 to 600;
    steps_resolve_s = steps.resolve_s, 1 to 60;
    steps_dial_s = steps.dial_s, 1 to 60;
    steps_proxy_s = steps.proxy_s, 1 to 60;
    steps_tls_s = steps.tls_s, 1 to 60;
    steps_upgrade_s = steps.upgrade_s, 1 to 60;
    steps_login_s = steps.login_s, 1 to 120;
    steps_write_s = steps.write_s, 1 to 60;
    redial_first_ms = redial.first_ms, 100 to 60000;
    redial_max_s = redial.max_s, 1 to 900;
    redial_useful_s = redial.useful_s, 1 to 3600;
    redial_per_hour = redial.per_hour, 4 to 1000;
    store_cache_kib = store.cache_kib, 64 to 1048576;
    store_collect_ms = store.collect_ms, 0 to 1000;
    outbox_pending_max = outbox.pending_max, 100 to 1000000;
    outbox_in_flight_max = outbox.in_flight_max, 1 to 1000;
    events_ping_s = events.ping_s, 1 to 600;
}

/// What the store is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreNumbers {
    /// Memory for the index's page cache.
    pub cache_bytes: u64,
    /// How long the dispatcher collects changes that nobody waits for before it writes them together. Zero: not at all.
    pub collect: Duration,
}

/// What the outbox is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxNumbers {
    /// Alerts that may wait for their server ack; the next one is refused, so that memory stays bounded.
    pub pending_max: u64,
    /// Sends of one session that may be without a server ack at a time.
    pub in_flight_max: u32,
}

/// What those who subscribe to the journal are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsNumbers {
    /// Between two signs of life; who gives none for two of these is left.
    pub ping: Duration,
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

impl Values {
    pub fn schedule(&self) -> Schedule {
        Schedule {
            tcp: TcpSchedule {
                idle: seconds(self.tcp_idle_s),
                interval: seconds(self.tcp_interval_s),
                count: self.tcp_count as u32,
                user_timeout: seconds(self.tcp_user_timeout_s),
            },
            websocket: WebSocketSchedule {
                ping: seconds(self.websocket_ping_s),
                pong: seconds(self.websocket_pong_s),
            },
            application: ApplicationSchedule {
                ping_min: seconds(self.application_ping_min_s),
                ping_max: seconds(self.application_ping_max_s),
                pong: seconds(self.application_pong_s),
                presence: seconds(self.application_presence_s),
                probe: seconds(self.application_probe_s),
                offline_drain: seconds(self.application_offline_drain_s),
            },
            steps: StepDeadlines {
                resolve: seconds(self.steps_resolve_s),
                dial: seconds(self.steps_dial_s),
                proxy: seconds(self.steps_proxy_s),
                tls: seconds(self.steps_tls_s),
                upgrade: seconds(self.steps_upgrade_s),
                login: seconds(self.steps_login_s),
                write: seconds(self.steps_write_s),
            },
            redial: RedialSchedule {
                first: Duration::from_millis(self.redial_first_ms),
                max: seconds(self.redial_max_s),
                useful: seconds(self.redial_useful_s),
                per_hour_max: self.redial_per_hour as u32,
            },
            budget_per_hour: self.path_messages_per_hour as u32,
        }
    }

    pub fn store(&self) -> StoreNumbers {
        StoreNumbers {
            cache_bytes: self.store_cache_kib * 1024,
            collect: Duration::from_millis(self.store_collect_ms),
        }
    }

    pub fn outbox(&self) -> OutboxNumbers {
        OutboxNumbers {
            pending_max: self.outbox_pending_max,
            in_flight_max: self.outbox_in_flight_max as u32,
        }
    }

    pub fn events(&self) -> EventsNumbers {
        EventsNumbers {
            ping: seconds(self.events_ping_s),
        }
    }
}
