//! The path of the group that matters in `cgroup`, and the unit and the container in it.

use psstat_proc_parse::{CgroupPath, Cgroups, Container};

const ID: &str = "4f0c2e9a1b7d8e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";

/// The unit and the container; empty if there is none.
fn found(path: &str) -> (String, String) {
    let path = path.replace("ID", ID);
    let path = CgroupPath(path.as_bytes());
    let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap().to_owned();
    let container: Vec<u8> = path.container().into_iter().flat_map(Container::bytes).collect();
    (text(path.unit().unwrap_or_default()), text(&container).replace(ID, "ID"))
}

#[test]
fn units() {
    for (path, unit) in [
        ("/", ""),
        ("", ""),
        ("/init.scope", "init.scope"),
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/nginx.service/workers/3", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/system-a\\x2db.slice/a\\x2db@c.service", "a\\x2db@c.service"),
        ("/user.slice/user-1000.slice/session-2.scope", "session-2.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "web.service"),
        ("/system.slice", "system.slice"),
        ("/_memory.slice/_cpu.service", "cpu.service"),
        ("/system.slice/dev-hugepages.mount", "dev-hugepages.mount"),
        ("/system.slice/cups.socket", "cups.socket"),
        ("/../../system.slice/nginx.service", "nginx.service"),
        ("/.service/x.timer/a.services", ""),
        ("/machine.slice/systemd-nspawn@deb.service/payload/system.slice/x.service", "x.service"),
    ] {
        assert_eq!(found(path).0, unit, "{path}");
    }
}

#[test]
fn containers() {
    for (path, container) in [
        ("/docker/ID", "ID"),
        ("/docker/ID/init", "ID"),
        ("/system.slice/docker-ID.scope", "ID"),
        ("/machine.slice/libpod-ID.scope", "ID"),
        ("/machine.slice/libpod-ID.scope/container", "ID"),
        ("/libpod_parent/libpod-ID", "ID"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", "ID"),
        ("/kubepods/burstable/podd2b4a1c6-0000-4f0c-9a1b-7d8e6f5a4b3c/ID", "ID"),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/cri-containerd-ID.scope",
            "ID",
        ),
        ("/kubepods.slice/kubepods-pod7.slice/crio-ID.scope/container", "ID"),
        ("/system.slice/containerd.service/kubepods-besteffort-pod7.slice:cri-containerd:ID", "ID"),
        ("/default/ID", "ID"),
        ("/lxc/web", "web"),
        ("/lxc/101/ns/system.slice/ssh.service", "101"),
        ("/lxc.payload/web/init.scope", "web"),
        ("/lxc.payload.web/system.slice/x.service", "web"),
        ("/lxc.payload.my-web", "my-web"),
        ("/machine.slice/systemd-nspawn@deb.service/payload", "deb"),
        ("/machine.slice/machine-my\\x2dweb.scope", "my-web"),
        ("/machine.slice/machine-a\\x2.scope", "a\\x2"),
        // The inner one.
        ("/lxc.payload.web/docker/ID", "ID"),
        ("/../docker-ID.scope", "ID"),
        // The monitors run outside.
        ("/machine.slice/libpod-conmon-ID.scope", ""),
        ("/machine.slice/crio-conmon-ID.scope", ""),
        ("/lxc.monitor.web", ""),
        ("/lxc.payload./lxc/", ""),
        ("/machine.slice/machine-.scope", ""),
        ("/docker/IDa", ""),
        ("/docker/xID", ""),
        ("/system.slice/nginx.service", ""),
        ("/", ""),
    ] {
        assert_eq!(found(path).1, container, "{path}");
    }
    let upper = ID.to_uppercase();
    assert_eq!(CgroupPath(upper.as_bytes()).container(), None);
}

#[test]
fn path_of_the_service_manager() {
    for (text, path) in [
        ("0::/system.slice/a.service\n", Some("/system.slice/a.service")),
        ("4:memory:/x\n1:name=systemd:/a\n0::/a\n", Some("/a")),
        // Docker with version 1, below a systemd that has both.
        (
            "4:memory:/docker/7\n1:name=systemd:/docker/7\n0::/system.slice/b.service\n",
            Some("/docker/7"),
        ),
        ("1:name=systemd:/\n0::/a\n", Some("/a")),
        ("1:name=systemd:/\n0::/\n", Some("/")),
        ("1:name=systemd:/\n", Some("/")),
        ("0::/\n", Some("/")),
        ("4:memory:/x\n1:name=openrc:/a\n", None),
        ("", None),
    ] {
        let groups = Cgroups::parse(text.as_bytes()).unwrap();
        assert_eq!(groups.path(), path.map(str::as_bytes), "{text}");
    }
}
