//! From the plan to a connection with the broker, and who this client says that it is.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::{MqttPlan, TlsFiles};
use crate::fallback::read_secret;
use crate::line::Schedule;
use crate::mqtt::{Cause, Login};
use crate::net::{self, Plain, Progress, Stream, Trial, Trust};

/// A chain of certificates, or all roots that there are.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What a connection is made of.
pub(super) struct Dialled {
    pub stream: Stream,
    pub login: Login,
    pub trial: Trial,
}

/// Brings a connection up. Files are read each time: they can be put right without a restart.
pub(super) async fn dial(plan: MqttPlan, schedule: Schedule) -> Result<Dialled, Cause> {
    let password = match &plan.password {
        Some(secret) => Some(read_secret(secret).await.map_err(Cause::Unreadable)?.into_bytes()),
        None => None,
    };
    let trust = match plan.broker.tls {
        true => Some(trust(&plan).await.map_err(Cause::Unreadable)?),
        false => None,
    };
    // Who writes mqtt:// has chosen so, for a network that the internet does not lead to.
    let plain = if plan.broker.tls {
        Plain::UntilTls
    } else {
        Plain::Private
    };
    let (endpoint, progress) = (plan.broker.endpoint(), Progress::default());
    let opened = net::open_within(plain, &endpoint, None, &schedule, &progress).await;
    let link = opened.map_err(|error| Cause::Dial(error.to_string()))?;
    let stream = match trust {
        None => link.stream,
        Some(trust) => {
            let at = progress.place(&endpoint, None);
            let secured = net::start_tls(link.stream, &endpoint.host, &trust, &at, schedule.steps.tls).await;
            secured.map_err(|error| Cause::Dial(error.to_string()))?
        }
    };
    let login = Login {
        user: plan.user,
        password,
    };
    Ok(Dialled {
        stream,
        login,
        trial: link.trial,
    })
}

async fn trust(plan: &MqttPlan) -> Result<Trust, String> {
    let (ca, identity) = (plan.ca.clone(), plan.identity.clone());
    smol::unblock(move || read_trust(ca, identity)).await
}

fn read_trust(ca: Option<PathBuf>, identity: Option<TlsFiles>) -> Result<Trust, String> {
    let of = |path: &Path, why: String| format!("{}: {why}", path.display());
    let trust = match &ca {
        Some(path) => Trust::new(Some(&read_pem(path)?), false).map_err(|why| of(path, why))?,
        None => Trust::new(None, false)?,
    };
    match identity {
        Some(TlsFiles { cert, key }) => {
            let (chain, secret) = (read_pem(&cert)?, read_pem(&key)?);
            trust.identified(&chain, &secret).map_err(|why| of(&cert, why))
        }
        None => Ok(trust),
    }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
