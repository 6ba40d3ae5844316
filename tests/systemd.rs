//! Promise: contexts come up, work and end as services and scopes of a real systemd, here and in another machine, and
//! where they do not, the error has systemd-run's words.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use econtext::{Context, Nsenter, SystemdRun};

mod support;

use support::{Daemon, TempDir, connect, isolated, needs, script};

/// A systemd of the test's own.
///
/// It is the first process of its namespaces, has a root directory with nothing but this machine's `/usr`, no units
/// but its own, and a cgroup below which it makes others. It can neither see nor move what is outside, nor set what
/// is the machine's.
struct Machine {
    daemon: Daemon,
}

const MACHINE: &str = r#"
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/$(basename "$PWD")
mkdir "$cgroup"
(
    echo 0 > "$cgroup/cgroup.procs"
    exec unshare --mount --uts --ipc --net --pid --cgroup --fork --mount-proc -- /bin/sh -e boot
) < /dev/null &
read end || :
kill -KILL $(ps -o pid= --ppid $!)
wait $! || :
find "$cgroup" -depth -type d -exec rmdir {} ';'
"#;

/// What the first process does before it is systemd.
const BOOT: &str = r#"
mkdir root
mount -t tmpfs none root
cd root
mkdir -p usr etc/systemd/system proc sys dev run var tmp root old
for it in bin lib lib64 sbin; do ln -s usr/$it $it; done
ln -s ../run var/run
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t proc none proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
for it in null zero full random urandom; do
    touch dev/$it
    mount --bind /dev/$it dev/$it
done
touch dev/console notify
mount --bind ../log dev/console
mount --bind ../notify notify
mount -t tmpfs -o mode=755 none run
echo 0123456789abcdef0123456789abcdef > etc/machine-id
echo 'root:x:0:0:root:/root:/bin/sh
messagebus:x:100:100::/:/bin/sh
app:x:1234:1234::/tmp:/bin/sh' > etc/passwd
echo 'root:x:0:
messagebus:x:100:
app:x:1234:' > etc/group
echo 'not the machine that the tests are on' > etc/mark
for it in sysinit basic shutdown; do
    printf '[Unit]\nDefaultDependencies=no\n' > etc/systemd/system/$it.target
done
printf '[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n' > etc/systemd/system/default.target
ln -s /lib/systemd/system/dbus.socket /lib/systemd/system/dbus.service etc/systemd/system
pivot_root . old
umount -l old
exec env -i PATH=/usr/sbin:/usr/bin container=econtext NOTIFY_SOCKET=/notify \
    SYSTEMD_UNIT_PATH=/etc/systemd/system \
    SYSTEMD_GENERATOR_PATH=/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/none \
    setpriv --bounding-set=-sys_time,-sys_module,-syslog,-sys_boot /lib/systemd/systemd
"#;

impl Machine {
    fn start() -> Machine {
        let dir = TempDir::new();
        dir.file("boot", BOOT);
        let ready = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        ready.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let daemon = Daemon::start(dir, MACHINE);
        let mut message = [0; 4096];
        loop {
            let told = ready.recv(&mut message).map(|count| &message[..count]);
            let told = told.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
            if told.starts_with(b"READY=1") {
                return Machine { daemon };
            }
        }
    }

    /// The id that systemd has outside.
    fn pid(&self) -> i32 {
        self.daemon.find("/lib/systemd/systemd ")
    }
}

/// The unit that it is, or is outside of.
fn cgroup(context: &Context) -> String {
    let lines: Vec<String> = context.call("linecache:getlines", ("/proc/self/cgroup",)).unwrap();
    lines.iter().find_map(|line| line.strip_prefix("0::")).unwrap().trim().to_string()
}

/// Waits until the machine that the context is in has none but its own services and scopes.
#[track_caller]
fn wait_for_none(context: &Context) {
    let argv = ["systemctl", "list-units", "--type=service,scope", "--plain", "--no-legend"];
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text: Vec<u8> = context.call("subprocess:check_output", (argv.to_vec(),)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let is_own =
            |line: &str| ["init.scope", "dbus.service"].iter().any(|it| line.starts_with(it));
        if text.lines().all(is_own) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Its number on Linux.
const RLIMIT_NOFILE: i64 = 7;

#[test]
fn services_scopes_and_machines() {
    isolated(|| {
        needs("/lib/systemd/systemd");
        needs("/usr/bin/dbus-daemon");
        let machine = Machine::start();
        // Where the systemd is that it is to speak to.
        let inside = Nsenter::new(machine.pid() as u32).python("/usr/bin/python3");
        let (router, inside) = connect(inside.name("inside"));
        assert!(inside.call::<bool>("os.path:exists", ("/etc/mark",)).unwrap());

        // The words for the search of an interpreter are not changed by systemd, which knows `$`, too.
        let context = inside.connect(SystemdRun::new()).unwrap();
        assert!(cgroup(&context).starts_with("/system.slice/run-u"), "{}", cgroup(&context));
        assert_eq!(context.call::<String>("os:getcwd", ()).unwrap(), "/");
        // More than any buffer on the way holds.
        let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
        assert_eq!(text.len(), 3_000_000);
        // What it has left running goes with it.
        assert_eq!(context.call::<i64>("os:system", ("sleep 1000 &",)).unwrap(), 0);
        context.shutdown().unwrap();
        wait_for_none(&inside);

        let app = SystemdRun::new().user("app").current_dir("/tmp").property("LimitNOFILE=77");
        let context = inside.connect(app).unwrap();
        let info = context.info().unwrap();
        assert_eq!((info.uid, info.current_dir), (1234, Some("/tmp".into())));
        let limits: (i64, i64) = context.call("resource:getrlimit", (RLIMIT_NOFILE,)).unwrap();
        assert_eq!(limits, (77, 77));
        context.shutdown().unwrap();

        let context = inside.connect(SystemdRun::new().scope(true)).unwrap();
        let scope = cgroup(&context);
        assert!(scope.starts_with("/system.slice/run-") && scope.ends_with(".scope"), "{scope}");
        context.shutdown().unwrap();
        wait_for_none(&inside);

        let error_of = |method: SystemdRun| inside.connect(method).unwrap_err().to_string();
        let start = "starting Python: systemd-run ended before Python ran (exit status 1); it printed: Failed to";
        let text = "find executable no-python: No such file or directory";
        let missing = error_of(SystemdRun::new().python("no-python"));
        assert_eq!(missing, format!("inside > systemd-run: {start} {text}"));
        let nobody = error_of(SystemdRun::new().user("nobody-here"));
        assert!(
            nobody.ends_with("systemd-run ended before Python ran (exit status 217)"),
            "{nobody}"
        );
        let unknown = error_of(SystemdRun::new().machine("other"));
        assert_eq!(
            unknown,
            format!("inside > machine.other: {start} connect to bus: Host is down")
        );

        // From outside it is a machine, which somebody has to have noted as one.
        let note = format!(
            "mount -t tmpfs none /run; mkdir -p /run/systemd/machines; \
             printf \"CLASS=container\\nLEADER={}\\n\" > /run/systemd/machines/box",
            machine.pid()
        );
        let body = "exec systemd-run \"$@\"";
        let body = format!("exec unshare --mount /bin/sh -ec '{note}; {body}' sh \"$@\"\n");
        let dir = TempDir::new();
        let method = SystemdRun::new().machine("box").user("app");
        let method = method.systemd_run_path(script(&dir, "systemd-run", &body));
        let context = router.connect(method).unwrap();
        assert_eq!((context.name(), context.info().unwrap().uid), ("machine.box", 1234));
        assert!(context.call::<bool>("os.path:exists", ("/etc/mark",)).unwrap());
        assert!(cgroup(&context).starts_with("/system.slice/run-u"), "{}", cgroup(&context));
        context.shutdown().unwrap();
        wait_for_none(&inside);
        router.shutdown().unwrap();
    });
}
