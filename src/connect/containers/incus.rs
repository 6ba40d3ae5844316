//! A child in an instance of Incus.

use super::instance::instance_method;

instance_method! {
    /// A context in an instance of Incus, a container or a virtual machine that runs.
    ///
    /// Its argv is `incus exec --mode=non-interactive [--user UID] [--group GID] [--cwd DIR] ARGS.. INSTANCE --
    /// COMMAND..`.
    Incus, "incus", "incus", incus_path,
    "an instance that runs, and a user who may speak to it: root or the group incus-admin"
}

#[cfg(test)]
mod tests {
    use super::super::super::Method;
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let plain = Incus::new("web");
        assert_eq!(plain.plan().name, "incus.web");
        assert_eq!(words(plain), "incus exec --mode=non-interactive web -- python3");
        let full = Incus::new("web").uid(33).gid(34).current_dir("/srv").args(["--project", "x"]);
        assert_eq!(
            words(full),
            "incus exec --mode=non-interactive --user 33 --group 34 --cwd /srv --project x web -- python3"
        );
    }
}
