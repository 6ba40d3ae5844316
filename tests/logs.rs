//! Promise: what a child's code gives to `logging` arrives as it was meant, at the level that was asked for.

use econtext::{Level, Local, LogRecord};

mod support;

use support::{Run, TempDir, for_each_kind_of_python, for_each_python, isolated};

const LOGS: &str = r#"
import logging

def levels():
    logging.getLogger().debug('root debug')
    log = logging.getLogger('app.part')
    for level in 5, 10, 20, 25, 30, 40, 50, 60:
        log.log(level, 'level %d', level)
    return str(log.getEffectiveLevel())

def failure():
    try:
        {}['key']
    except KeyError:
        logging.getLogger('app').exception('it %s', 'failed')

def odd():
    class Odd(object):
        def __str__(self):
            raise RuntimeError('no text')
    log = logging.getLogger('odd')
    log.error('%d', 'no number')
    log.error('%s', Odd())
    log.error(u'caf\xe9 \x1b[31mred')
    log.error({'a': 1})
    log.error('two\nlines\n')

def configured():
    logging.basicConfig(level=logging.DEBUG, format='mine %(message)s')
    logging.getLogger('user').warning('once')

def factory():
    old = logging.getLogRecordFactory()
    def make(*args, **kwargs):
        record = old(*args, **kwargs)
        record.msg = 'made: ' + record.msg
        return record
    logging.setLogRecordFactory(make)
    logging.getLogger('user').warning('once')

def forked():
    import os
    pid = os.fork()
    if not pid:
        logging.getLogger('copy').warning('from a copy')
        os._exit(0)
    os.waitpid(pid, 0)

def collect_always():
    import gc
    class Left(object):
        def __init__(self):
            self.itself = self
        def __del__(self):
            logging.getLogger('left').warning('collected')
    global leave
    leave = Left
    getattr(gc, 'set_threshold', lambda *counts: None)(1, 1, 1)

def large():
    for _ in range(3):
        leave()
    return b'x' * 300000

def chatty():
    class Value(object):
        def __str__(self):
            logging.getLogger('inner').warning('inside')
            return 'value'
    logging.getLogger('outer').warning('%s', Value())
"#;

fn of<'a>(records: &'a [LogRecord], logger: &str) -> Vec<(Level, &'a str)> {
    let records = records.iter().filter(|record| record.logger == logger);
    records.map(|record| (record.level, record.message.as_str())).collect()
}

/// Calls a function and gives back all that is logged until after it.
fn logged(run: &Run, target: &str) -> Vec<LogRecord> {
    run.context.call::<econtext::Value>(target, ()).unwrap();
    run.requests();
    run.log.records()
}

#[test]
fn records_below_the_masters_level_stay_in_the_child() {
    isolated(|| {
        for_each_python(|python| {
            use Level::{Critical, Debug, Error, Info, Warning};
            for (level, first) in [(Debug, 1), (Info, 2), (Warning, 4), (Critical, 6)] {
                let local = Local::new().python(&python.path).name("web1");
                let run = Run::start_with(local, level, |modules| {
                    modules.source("logs", LOGS);
                });
                let records = logged(&run, "logs:levels");
                let all = [
                    (Debug, "level 5"),
                    (Debug, "level 10"),
                    (Info, "level 20"),
                    (Info, "level 25"),
                    (Warning, "level 30"),
                    (Error, "level 40"),
                    (Critical, "level 50"),
                    (Critical, "level 60"),
                ];
                assert_eq!(of(&records, "app.part"), all[first..], "{level}");
                let root: &[_] = if level == Debug { &[(Debug, "root debug")] } else { &[] };
                assert_eq!(of(&records, "root"), root);
                let record = records.iter().find(|record| record.logger == "app.part").unwrap();
                assert_eq!(record.context, "web1");
                assert_eq!(record.target(), "econtext.ctx.web1");
                let last = records.iter().rfind(|record| record.logger == "app.part").unwrap();
                assert_eq!(last.to_string(), "CRITICAL econtext.ctx.web1: app.part: level 60");
            }
        });
    });
}

#[test]
fn a_record_of_an_exception_has_its_traceback() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("logs", LOGS);
            });
            let records = logged(&run, "logs:failure");
            let [(Level::Error, message)] = of(&records, "app")[..] else { panic!("{records:?}") };
            let start = "it failed\nTraceback (most recent call last):\n  File \"logs.py\", line 13, in failure\n    \
                         {}['key']\n";
            assert!(
                message.starts_with(start) && message.ends_with("KeyError: 'key'"),
                "{message}"
            );
        });
    });
}

#[test]
fn a_record_that_cannot_be_formatted_arrives_as_it_is() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("logs", LOGS);
            });
            let records = logged(&run, "logs:odd");
            let messages: Vec<_> =
                of(&records, "odd").into_iter().map(|(_, message)| message).collect();
            assert_eq!(
                messages,
                [
                    match python.version.0 {
                        2 => "%d ('no number',) (cannot be formatted)",
                        _ => "%d ('no number',) (cannot be formatted)",
                    },
                    messages[1],
                    "caf\u{e9} \\x1b[31mred",
                    "{'a': 1}",
                    "two\nlines"
                ]
            );
            assert!(messages[1].ends_with("(cannot be formatted)"), "{}", messages[1]);
            assert_eq!(run.messages("stderr").len(), 1, "{:?}", run.messages("stderr"));
        });
    });
}

#[test]
fn user_code_may_configure_logging() {
    isolated(|| {
        for_each_python(|python| {
            let mut targets = vec![("logs:configured", "once")];
            if python.version.0 > 2 {
                targets.push(("logs:factory", "made: once"));
            }
            for (target, message) in targets {
                let run = Run::start(python, |modules| {
                    modules.source("logs", LOGS);
                });
                let records = logged(&run, target);
                assert_eq!(of(&records, "user"), [(Level::Warning, message)]);
                assert_eq!(run.messages("stderr").len(), 1, "{:?}", run.messages("stderr"));
            }
        });
    });
}

#[test]
fn logging_may_be_imported_before_the_core_starts() {
    const SITE: &str = "import logging\nlogging.getLogger('early').warning('too early')\n";
    isolated(|| {
        let dir = TempDir::new();
        dir.file("usercustomize.py", "");
        for_each_python(|python| {
            dir.file("sitecustomize.py", SITE);
            let local = Local::new().python(&python.path).env("PYTHONPATH", dir.path());
            let local = local.env("PYTHONDONTWRITEBYTECODE", "1");
            let run = Run::start_with(local, Level::Info, |modules| {
                modules.source("logs", LOGS);
            });
            let records = logged(&run, "logs:levels");
            assert_eq!(of(&records, "app.part").len(), 6, "{records:?}");
        });
    });
}

#[test]
fn a_forked_copy_logs_to_its_stderr() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("logs", LOGS);
            });
            let records = logged(&run, "logs:forked");
            assert_eq!(of(&records, "stderr")[0], (Level::Info, "copy: from a copy"));
        });
    });
}

#[test]
fn logging_inside_of_logging_ends() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("logs", LOGS);
            });
            let records = logged(&run, "logs:chatty");
            assert_eq!(of(&records, "outer"), [(Level::Warning, "value")]);
        });
    });
}

#[test]
fn a_finalizer_that_logs_in_the_middle_of_a_send_does_not_stop_the_child() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("logs", LOGS);
            });
            run.context.call::<()>("logs:collect_always", ()).unwrap();
            for _ in 0..30 {
                let soon = std::time::Duration::from_secs(30);
                let large: Vec<u8> =
                    run.context.call_with_deadline(soon, "logs:large", ()).unwrap();
                assert_eq!(large.len(), 300_000);
            }
        });
    });
}
