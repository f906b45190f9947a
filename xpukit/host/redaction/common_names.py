"""Names that hide nothing: what many machines and accounts are called, and words of kernels, packages and our output.

A learned name is looked for in all text. If it is a word that stands there for other reasons, replacing it damages the
recording (`node1` is a place in /sys), and the scan of the finished archive would call each of them a leak.
"""

from __future__ import annotations

import re

from xpukit.host.redaction.rule import MARK


def _split(words: str) -> list[str]:
    return words.split()


# Roles and defaults: they stay also where they show that they are a name (/home/ubuntu).
_COMMON = frozenset(
    _split(
        """
    a actions admin administrator ai app arc audio azureuser b bench benchmark bmc broadcasthost build builder cache
    centos client computer container core cpu daemon data debian debug default demo deploy desktop dev dev1 docker
    driver ec2-user error false fedora ftp gateway git github gitlab-runner gpu gpuadmin gpuuser guest home host
    hostname hpc inference info intel ip6-allnodes ip6-allrouters ip6-localhost ip6-localnet ip6-loopback
    ip6-mcastprefix ipmi ipv6 jenkins jovyan kernel kvm laptop linux linuxbrew llm local localdomain localhost
    localhost4 localhost6 localuser lost+found machine mail master me ml model models myuser name nas nobody node none
    null nvidia ollama oneapi opc openvino operator ops pi podman proxy public python qemu raspberrypi redacted render
    root router runner server service serving sglang share shared someuser ssh support sysadmin system systemd test
    test1 tester true ubuntu unknown user user1 user2 username users video vllm vm vscode warning work worker
    workstation www www-data x xe xpu xpukit xpuuser your youruser
        """
    )
)
# Words of the texts a bundle holds: a name like one of them is replaced where it shows that it is one, and only there.
_WORDS = frozenset(
    _split(
        """
    abbrev ability about above abseil absent accel accelerate accelerator accepted access action active actual
    adapters added address addresses adds affinity after against aiohttp alchemist alembic alloc allowed allowlist
    alma almalinux alone alpine also amber amdgpu amlogic among ampere anaconda another ansible answer answered
    answers anthropic anyof apart api apiversion apparmor appearance apple applicable applies aptitude aquantia arch
    archive area argument arguments argv arista array arrowlake asked asks aspects aspm asrock asset assign asus async
    asyncio atomics auth authorization auto avahi available backlight backup balancer balloon bandwidth bars base
    baseline bash batch battery battlemage bazel bdfs bearer became become becomes been before behind below beside
    beta better between beyond bias bind binutils bionic bios biostar bits blob blobs block blocked blocks bluetooth
    bluez board body bonding bookworm boolean boost boot both boto bound bpftool branch brand breakpad bridge bring
    brings broadcom btrfs bucket buffer buildkit buildx built bullseye bundle burst busybox button byte bytes bzip
    cable cached cachefiles cacheline caches call calm camera cannot capability capable capacity capped card carries
    cause causes ccache ceiling celery celsius certbot certificates cgroup chain change changed changes channels chap
    char charger chat check checked checks chelsio child choice choices chosen chrome chromium chrony chunk cifs
    cilium cisco class classes classic clean click clinfo clock clocks cloud cluster cmake code codename cold collectd
    collected collection collector collectors combination combine combined come comes command commands commit common
    communities community comparable compare compared comparison compatibility compiler complaint complete completed
    completion compose composer composite compute concerns concludes conclusion conda conditions config configuration
    confirm connect connection connector console const containerd containerenv context control controller cookie
    cookies cooling copy cores coreutils corporation correctable corsair cosign costs coturn could count counted
    counts covers cpuacct cpufreq cpuinfo cpulist cpus cpuset crashed created credentials crit critical cron crond
    crucial crypto cryptsetup cube cuda cups curl current custom cycle cython dask database databases date dbus
    debugfs decide decode deep deepspeed defaults defs degraded dell dellemc delta denied deny depth description
    detail details devcoredump device deviceid devices devname devpath devtype diff differ difference differences
    diffusers digest directories directory dirty discovery discrete disk disks dispatch display dist distance
    distances distribution disturbed dkms dmar dmesg dnnl dnsmasq dockerenv doctor document does dolphin domain done
    double down downgrade downstream dpctl dpkg dracut draft drbd drive drivers dropped dump dumps each early earlyoom
    echo edac edge editor effective efficient efivars egress elastic elasticsearch else elsewhere emacs email embed
    empty emulator enable enabled encoded encoder ended ends energy engine engines enoent entries entropy entry enum
    environment envoy epoch errors etcd ether ethernet ethtool euis evaluate even event every everything evidence
    exact example exchange exec execlist exit explanation export expression extension extensions extra fabric face
    fail fail2ban failed fails failure faiss falcon fallback families family fan fans farthest fast fastapi fatal
    fence fetch fetched fetches field file filebeat files filesystem filled filter final finding findings fingerprint
    fingerprints finished firefox firewall firewalld firmware firmwares first fixed flags flannel flask flat fleet
    flex float fluentbit fluentd focal folder force format fortran found foxconn frame free freezer freq frequencies
    frequency fresh from fujitsu full function further fuse fusion future fwupd gate gave gbps gcc gdal gdb gemma
    general generate generation generic gentoo genuineintel gets gfortran ghost gigabyte gitlab given global gluster
    glusterfs gmmlib gnome gnuplot golang good google governor gparted gradio grafana granite graph graphics green
    grep grid group groups grub gsctool gstreamer gtidle guard guid guids guix hadoop handler haproxy harbor hard
    hardware hash hashed haswell have head header headers health healthy heap heartbeat helm help here hermes hewlett
    hidden hierarchy high higher hitachi holds hook hooks hops hosts hotplug htpasswd http https huawei hugepage
    hugetlb hugging huggingface hung hwloc hwmon hyperthreading hyperv hypervisor ibm icon identity idle ignore
    ignored igsc image import importance imports inbox index infiniband ingress init initialized initstate inline
    inner input inside inspur install installed instances integer interfaces interrupt interrupted interval into
    invalid inventory iommu iommufd ipvs ipython irqbalance iscsi issues istio item items iterator itself ivpu jack
    jammy java job jobs join joined journal journalctl joystick json judged jump juniper jupyter jupyterhub jupyterlab
    just kafka kept keras kerberos kernels key keyboard keys kibana kill killed kind kingston kioxia know known kolla
    kubeadm kubectl kubelet kubernetes label labels lane large last latency latest layer layers ldconfig lease least
    led leds left legend length lenovo level level-zero libigdgmm libigdrcl libigsc libraries library libva libvirt
    libvirtd libze life light lightdm lightning like limit limited limits line linear lines link linked links lint
    list listed listing live llama llava lldpd lmdeploy load loaded loader location lock lockdown locked lockup logger
    login logins logrotate logs logstash long look looked loop loopback losers loses lower lowest lspci luks lunarlake
    lustre lxcfs lxd machines made magic main mainline mains major make makes mamba manager mandriva manifest many map
    mariadb mark marvell mask masks match matches matching math matrix matter matters maven maximum means measured
    measuring media median mellanox members memcached memfree meminfo memories memory mems memtotal memused menu merge
    mesa meson message meta metal meteorlake method metric metricbeat metrics microcode micron middle mimir mini
    minikube minima minimum minio minor mirror misc missing mistral mixed mixtral mlflow mlnx mock mode modern modinfo
    module modules mongo mongod mongodb monitor more mosquitto most mount mounted mountinfo mouse move mpich multi
    multicast munge must mutex mysql mysqld named names narrowest narrows native nearest needed needs neither neovim
    nested netdata netplan network networkd networkmanager networks neutron next nfsd nginx nice ninja noble
    node-exporter nodes nodev noexec noise noisy nomad nonfatal nonfree normal nosuid note notes nothing notifier nova
    numa number numbers numpy numvfs nutanix nvme oauth object octal octavia offers offline offload offset often once
    oneccl onednn ones online only onnx onnxruntime open openai openblas opencl opencv openmpi openshift openssl
    openstack opensuse openvpn openvswitch optional options oracle orange order origin osrelease other others
    otherwise outer outlet outlier outliers output outside over overflow overhead overlay overrides owner oxygen
    pacemaker package packagekit packages packard page pager pandas panel panic pantherlake parallel parameters params
    parent parse part partial partition partner parts pass passthrough password passwords patch path pattern pause
    payment pci pcie pcieport peak peer peers pending percent perf performance performed perl person phase phi phison
    phrases physfn physical pids pillow ping pins pipe pipeline pipewire pixel place places plain plan plane plasma
    platform plugged plugin point policy poll ponte pool port ports possible postfix postgresql power precise
    preference prefetchable prefill prefix preload present preset pretty print prints priority private probe problem
    problems proc process processes processor processors prochot product profile program programming prompt proof
    properties protection protocol provider proxies proxmox proxysql pseudonym pstate published pulse pulseaudio
    puppet push putty pwm pydantic pypi pytest python3 pythonhome pythonpath pytorch qualcomm quant quanta query
    question questions quick quiet quota qwen rabbitmq rack radio raid ramdisk rancher random range rank rate ratio
    raw rdev rdma reach reached reactor read readable reader reading reads realtek reaper reason reasons rebar reboot
    receiver recipe recipes record recorded recording recordings recovery redactions redfish redirect redirects redis
    reference references region register registries registry regular regulator relatime relative relay release remedy
    remote removed repaired repeat replaced replay replica repo report repository request requests required
    requirements rescue reserve reset resident residual resizable resize resolve resolved resource result results
    retry return revision right ring rockchip rocky role rook rooms rootless rotate rounds route rows rule rules
    running runs runtime rust rxerr safetensors said salt samba same sample samples samsung sandisk sata says sbin
    scalar scaled scaling scan schedule scheduler schema scikit scipy scope scratch screen script seagate search seat
    seconds secret section sector secure seed seen segfault segment selector self selinux send sensor sensors sentry
    serial serve services session setting settings settled setvars severity shader shadow shard shell shift short
    shortfall should show sibling siblings sid side sides sigmas sign signal significant silent simd simple simpledrm
    single site size sizes skip skipped slack slave sleep slice slices slot slow slurm slurmctld slurmd small smallest
    smart smoke snap snapd snapshot snmp sock socket sockets soft software solarflare solid solr something sound
    source sourced sources space spare spark sparse speaker spec special speed spelled spice split splunk spread
    squashfs squid srcversion sriov ssid stable stable-diffusion stack stage standard standby stands star starlette
    start started starts stat state static statsd status step stepping steps storage store stream strict string
    strings stripe strong strongswan style subdevice subdevices subject subprocess subslice subslices subsubdevices
    subsys subsystem such sudo suite summary super supermicro supervisor survivability suse sustained swap swarm
    switch sycl symbol symptom sync sysctl sysinfo sysman systemctl systemtap table tablet tach tags tainted takes
    taking target task tcpdump tegra telegraf telegram tells temp temperatures temporary tensor tensorflow terminal
    terraform text tgt than thanos that their them theme then there thermal thermalert these they thin thing this
    those threads threshold throttl throttle through thunderbolt tick ticket tigervnc tile tiles time timeout timer
    timestamp timesyncd timing title tmpfs tmux token tokenizers tokens tolerance tomcat took tool tools topo topology
    torch toshiba total totalvfs touch trace traceback track traefik traffic train transfer transformers transparent
    tree trigger triton trixie trunc trust tuned tuning tunnel turbo type udev udisks uevent umockdev uname unattended
    unbound uncertain unchecked uncorrectable undefined unexplained unified uninitialized unit units unix unlimited
    unpacked unread unscaled unsettled update upload upper upstream urls usage usb used usually utility uuid uuids
    uvicorn uvloop vagrant valid validates value values variable variant variants vault vecchio vector velero vendor
    vendors venv verbose verdict verification verified verify version versions vfio view violated violates virtio
    virtual visual vital vmware voltage volume volumes vram wait waited wake walk wall warn watch watchdog wave
    wayland weak webkit wedged weights went were western what wheel wheels when where whether which whisper whole
    whose wide width wifi window winner wins wire wireguard wireplumber wireshark with without word words workload
    workspace world worse worst would wrap writable write writer wrong xarray xeon xfce xorg xpumanager xpumd yarn
    yield yocto zabbix zeinit zero zfs zone zookeeper zram zstd
        """
    )
)
# Constants of specifications: they name a kind of thing, never a thing. Some are part of file names that are read.
# UEFI 2.10: variables of firmware (3.3), the databases of Secure Boot (32.6.1), shim's own. Types of partitions: EFI,
# Microsoft data and reserved, BIOS boot, Linux data, swap, LVM, RAID, home, root x86-64 (UEFI 2.10, 5.3.3; Discoverable
# Partitions Specification). _OSC of a platform (ACPI 6.5, 6.2.12.2) and of PCI host bridges (PCI Firmware 3.3, 4.5.1).
_PUBLIC_UUIDS = frozenset(
    _split(
        """
    8be4df61-93ca-11d2-aa0d-00e098032b8c d719b2cb-3d3a-4596-a3bc-dad00e67656f 605dab50-e046-4300-abb6-3dd810dd8b23
    c12a7328-f81f-11d2-ba4b-00a0c93ec93b ebd0a0a2-b9e5-4433-87c0-68b6b72699c7 e3c9e316-0b5c-4db8-817d-f92df00215ae
    21686148-6449-6e6f-744e-656564454649 0fc63daf-8483-4772-8e79-3d69d8477de4 0657fd6d-a4ab-43c4-84e5-0933c84b4f4f
    e6d6d379-f507-44c2-a23c-238f2a3df928 a19d880f-05fc-4d3b-a006-743f0f84911e 933ac7e1-2eb4-4f13-b844-0e14e2aef915
    4f68bce3-e8cd-4db1-96e7-fbcaf984b709
    0811b06e-4a27-44f9-8d60-3cbbc22e7b48 33db4d5b-1ff7-401c-9657-7441c03dd766
        """
    )
)
_STAND_IN = re.compile(r"(?i)(?:host|user|domain|ssid|mail)-\d+(?:\.example)?|SN\d+")
# node1, gpu-02, b60, a770, x86, ens3f0np0 are places, models and interfaces.
_NUMBERED = re.compile(r"(?P<base>[a-z][a-z\-_]*?)[\-_.]?\d{1,6}[a-z]?")
_MODEL = re.compile(r"[a-z]{1,3}\d{1,5}[a-z]{0,2}|\d+[a-z]{1,3}|(?:en|wl|ib|eth|veth)\w*\d\w*|v?\d+(?:\.\d+)+[\w.+\-]*")
_GENERIC_DOMAINS = frozenset(
    _split(
        "cluster corp default domain example home internal intranet invalid lan local localdomain localhost mshome net "
        "network office private server svc test workgroup"
    )
)


def is_stand_in(name: str) -> bool:
    """Whether it is a pseudonym of ours."""
    return bool(_STAND_IN.fullmatch(name))


def is_public_uuid(text: str) -> bool:
    """Whether a UUID is a constant of a specification, which says nothing about a machine."""
    return text.lower() in _PUBLIC_UUIDS


def is_common(name: str) -> bool:
    """Whether a name is one that hides nothing: a role, a default, a number, a stand-in of ours."""
    return name.lower() in _COMMON or name.isdigit() or is_stand_in(name) or MARK in name


def is_word(name: str) -> bool:
    """Whether a name is a word of kernels, packages or our own output, or such a word with a number."""
    low = name.lower()
    if low in _WORDS or low in _COMMON or low.removesuffix("s") in _WORDS or _MODEL.fullmatch(low):
        return True
    numbered = _NUMBERED.fullmatch(low)
    return numbered is not None and (numbered["base"] in _WORDS or numbered["base"] in _COMMON)


def is_distinct(name: str) -> bool:
    """Whether a name may be looked for in all text, not only where it shows that it is one."""
    return len(name) >= 4 and not is_common(name) and not is_word(name)


def is_distinct_domain(name: str) -> bool:
    """The same for a domain: `internal` is a word, `lab.acme-corp.net` is not."""
    return (
        len(name) >= 6
        and not is_common(name)
        and not _MODEL.fullmatch(name.lower())
        and ("." in name or name.lower() not in _GENERIC_DOMAINS | _WORDS)
    )


def is_distinct_serial(name: str) -> bool:
    """The same for a serial number: a short number alone is a size, a count, an id."""
    return len(name) >= 6 and (not name.isdigit() or len(name) >= 10) and not _MODEL.fullmatch(name.lower())
