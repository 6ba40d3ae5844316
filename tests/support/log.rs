//! What a router logs, kept for the test to look at.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use econtext::LogRecord;

/// Longer than anything but a failure takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The records of one router; clones are the same log.
///
/// ```text
/// let log = Log::default();
/// let router = Router::builder().on_log(log.sink()).build()?;
/// let record = log.wait_for("the line", |record| record.message == "hello");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<(Mutex<Vec<LogRecord>>, Condvar)>,
}

impl Log {
    /// What to give to `RouterBuilder::on_log`.
    pub fn sink(&self) -> impl FnMut(&LogRecord) + Send + use<> {
        let log = self.clone();
        move |record| {
            let (records, arrived) = &*log.shared;
            records.lock().unwrap().push(record.clone());
            arrived.notify_all();
        }
    }

    /// What has arrived so far.
    pub fn records(&self) -> Vec<LogRecord> {
        self.shared.0.lock().unwrap().clone()
    }

    /// Waits for the first record that is `wanted`.
    ///
    /// # Panics
    ///
    /// When it does not come: shows what came instead.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&LogRecord) -> bool) -> LogRecord {
        let (records, arrived) = &*self.shared;
        let missing = |records: &mut Vec<LogRecord>| !records.iter().any(&wanted);
        let records = records.lock().unwrap();
        let (records, _) = arrived.wait_timeout_while(records, PATIENCE, missing).unwrap();
        match records.iter().find(|record| wanted(record)) {
            Some(record) => record.clone(),
            None => panic!("{what} did not come; the log has {records:#?}"),
        }
    }
}
