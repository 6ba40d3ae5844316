//! A child in an instance of LXD's.

use super::instance::instance_method;

instance_method! {
    /// A context in an instance of LXD's, a container or a virtual machine that runs. For lxc-attach(1), see
    /// [`Lxc`](crate::Lxc).
    ///
    /// Its argv is `lxc exec --mode=non-interactive [--user UID] [--group GID] [--cwd DIR] ARGS.. INSTANCE --
    /// COMMAND..`.
    Lxd, "lxd", "lxc", lxc_path,
    "an instance that runs, and a user who may speak to LXD: root or the group lxd"
}

#[cfg(test)]
mod tests {
    use super::super::super::Method;
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let plain = Lxd::new("web");
        assert_eq!(plain.plan().name, "lxd.web");
        assert_eq!(words(plain), "lxc exec --mode=non-interactive web -- python3");
        let full = Lxd::new("far:web").uid(33).gid(34).current_dir("/srv").args(["--project", "x"]);
        assert_eq!(
            words(full),
            "lxc exec --mode=non-interactive --user 33 --group 34 --cwd /srv --project x far:web -- \
             python3"
        );
    }
}
