"""Planted names as tools for disks, PCI devices and networks print them: (kind, text, what must be gone)."""

from __future__ import annotations

# A Device Serial Number capability (id 0003 at 0x140) as `lspci -xxxx` prints it: 00-1b-21-ff-ff-c3-5a-7e.
_LSPCI_X = """\
03:00.0 VGA compatible controller [0300]: Intel Corporation Battlemage G21 [Arc B580] [8086:e20b]
\tCapabilities: [140 v1] Device Serial Number 00-1b-21-ff-ff-c3-5a-7e
00: 86 80 0b e2 07 04 10 00 00 00 00 03 10 00 00 00
100: 01 00 01 14 00 00 00 00 00 00 00 00 00 00 00 00
140: 03 00 01 15 7e 5a c3 ff ff 21 1b 00 00 00 00 00
150: 0b 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00
"""
_NVME_LIST = """\
Node                  Generic               SN                   Model                                    Namespace
--------------------- --------------------- -------------------- ---------------------------------------- ---------
/dev/nvme0n1          /dev/ng0n1            S6Z1NJ0TB12345X      Samsung SSD 990 PRO 2TB                  0x1
/dev/nvme1n1          /dev/ng1n1            PHLJ9312004A1P0F     INTEL SSDPE2KX010T8                      0x1
"""
_LSBLK = """\
NAME        MODEL                      SERIAL          WWN                  SIZE ROTA
sda         ST4000NM0035-1V4107        ZC1A9QXJ        0x5000c500a1b2c3d4   3.6T    1
nvme0n1     SAMSUNG MZQL23T8HCLS-00A07 S64HNE0R500123  eui.36344830525001230025384500000001 3.5T 0
"""
_LSBLK_PAIRS = 'NAME="sdb" MODEL="WDC WD40" SERIAL="WD-WCC7K4AB12CD" WWN="0x50014ee2b9a1c3d5"\n'
_SMART = """\
Device Model:     ST4000NM0035-1V4107
Serial Number:    ZC1B7RTK
LU WWN Device Id: 5 000c50 0b7d3e2f1
Firmware Version: TN05
"""
_CISCO = "Internet  10.44.7.19   4   001b.21c3.5a7e  ARPA   Vlan10\n"

TEXTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("pci config dump", _LSPCI_X, ("7e 5a c3 ff ff 21 1b 00", "00-1b-21-ff-ff-c3-5a-7e")),
    ("pci config dump, only the line", "140: 03 00 01 15 7e 5a c3 ff ff 21 1b 04 00 00 00 00\n",
     ("7e 5a c3 ff ff 21 1b 04",)),
    ("nvme list", _NVME_LIST, ("S6Z1NJ0TB12345X", "PHLJ9312004A1P0F")),
    ("nvme list json", '{"DevicePath":"/dev/nvme0n1","SerialNumber":"S6Z1NJ0TB77777X"}\n', ("S6Z1NJ0TB77777X",)),
    ("nvme id-ctrl", "sn        : S6Z1NJ0TB99999X     \nmn        : Samsung SSD 990\n", ("S6Z1NJ0TB99999X",)),
    ("nvme id-ns", "nguid   : 36344830525001230025384500000042\neui64   : 0025384500000042\n",
     ("36344830525001230025384500000042", "0025384500000042")),
    ("nvme subsystem", "nvme-subsys0 - NQN=nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0099-3510-8054-b4c04f4d3132\n",
     ("4c4c4544-0099",)),
    ("nvme nqn with a serial", "nqn.2014.08.org.nvmexpress:80868086PHLN0123004A4P0IGN INTEL SSDPEDME\n",
     ("PHLN0123004A4P0IGN",)),
    ("lsblk columns", _LSBLK, ("ZC1A9QXJ", "5000c500a1b2c3d4", "S64HNE0R500123", "36344830525001230025384500000001")),
    ("lsblk pairs", _LSBLK_PAIRS, ("WD-WCC7K4AB12CD", "50014ee2b9a1c3d5")),
    ("lsblk json", '{"name":"sdc","serial":"Z1Z9ABCD","wwn":"0x5000c5008a7b6c5d"}\n', ("Z1Z9ABCD", "5000c5008a7b6c5d")),
    ("smartctl", _SMART, ("ZC1B7RTK", "000c50 0b7d3e2f1")),
    ("smartctl json", '"serial_number": "ZC1D8XYZ", "wwn": {"naa": 5, "oui": 3152, "id": 46789012345}\n', ("ZC1D8XYZ",)),
    ("disk by id", "/dev/disk/by-id/nvme-Samsung_SSD_990_PRO_2TB_S6Z1NJ0TB55555X-part1\n", ("S6Z1NJ0TB55555X",)),
    ("disk by wwn", "/dev/disk/by-id/wwn-0x5000c500a9b8c7d6\n", ("5000c500a9b8c7d6",)),
    ("lshw", "       serial: 001b21c35a9f\n       serial: PK1234PAGKR9ZZ\n", ("001b21c35a9f", "PK1234PAGKR9ZZ")),
    ("dmidecode asset tag", "\tAsset Tag: ACME-IT-004711\n", ("ACME-IT-004711",)),
    ("dmidecode service tag", "\tService Tag: 7XK9Q53\n", ("7XK9Q53",)),
    ("dmidecode memory", "\tManufacturer: Samsung\n\tSerial Number: 37A1B2C4\n", ("37A1B2C4",)),
    ("xpu-smi serial", "| Serial Number: AUCG43200F2L             |\n", ("AUCG43200F2L",)),
    ("xpu-smi json serial", '"serial_number": "AUCG43200F9M",\n', ("AUCG43200F9M",)),
    ("amcfw serial", "boardSerialNumber=BQLB24100123\n", ("BQLB24100123",)),
    ("usb serial", "usb 1-4: SerialNumber: 60A44C425354B110\n", ("60A44C425354B110",)),
    ("udev serial", "E: ID_SERIAL=Samsung_SSD_990_PRO_S6Z1NJ0TB66666X\nE: ID_SERIAL_SHORT=S6Z1NJ0TB66666X\n",
     ("S6Z1NJ0TB66666X",)),
    ("ipmi fru", " Board Serial          : WQ1234567890\n Product Serial        : MXQ1234ABC\n",
     ("WQ1234567890", "MXQ1234ABC")),
    ("ipmi lan", "IP Address              : 10.77.3.12\nMAC Address             : 3c:ec:ef:12:ab:cd\n",
     ("10.77.3.12", "3c:ec:ef:12:ab:cd")),
    ("infiniband guid", "\tNode GUID: 0x506b4b0300c2d4e6\n\tPort GUID: 506b:4b03:00c2:d4e7\n",
     ("506b4b0300c2d4e6", "506b:4b03:00c2:d4e7")),
    ("infiniband address", "link/infiniband 80:00:08:fe:fe:80:00:00:00:00:00:00:50:6b:4b:03:00:c2:d4:e8 brd\n",
     ("50:6b:4b:03:00:c2:d4:e8",)),
    ("mac with dashes", "Physical Address: 3C-EC-EF-45-67-89\n", ("3C-EC-EF-45-67-89",)),
    ("mac as switches write it", _CISCO, ("001b.21c3.5a7e", "10.44.7.19")),
    ("mac without separators", "mac_address: 3cecef778899\n", ("3cecef778899",)),
    ("mac in link-local", "inet6 fe80::3eec:efff:fe12:abcd/64 scope link\n", ("3eec:efff:fe12:abcd",)),
    ("ipv4 network", "10.88.4.0/22 dev eth0 proto kernel src 10.88.4.17\n", ("10.88.4.",)),
    ("ipv4 with a netmask", "inet 172.22.9.14  netmask 255.255.252.0  broadcast 172.22.11.255\n",
     ("172.22.9.14", "172.22.11.255")),
    ("ipv4 with a port", "listening on 192.168.77.14:8000\n", ("192.168.77.14",)),
    ("ipv4 in a url", "base_url=http://10.55.66.77:8000/v1\n", ("10.55.66.77",)),
    ("ipv4 in a host name", "ip-10-55-66-78.ec2.internal is up\n", ("10-55-66-78",)),
    ("ipv4 in json", '{"advertise_addr": "100.64.12.9"}\n', ("100.64.12.9",)),
    ("ipv4 range", "dhcp-range=10.31.5.100,10.31.5.200,12h\n", ("10.31.5.100", "10.31.5.200")),
    ("ipv4 in hex", "eth0\t0005A8C0\t0105A8C0\t0003\t0\t0\t100\t00FFFFFF\t0\t0\t0\n", ("0005A8C0", "0105A8C0")),
    ("sockets in hex", "   0: 0E4DA8C0:1F90 0F4DA8C0:D431 01 00000000:00000000 00:00000000 00000000\n",
     ("0E4DA8C0", "0F4DA8C0")),
    ("ipv4 mapped", "peer [::ffff:10.41.2.3]:443\n", ("10.41.2.3",)),
    ("ipv6 in capitals", "addr 2A02:8108:AAAA:BBBB::17 scope global\n", ("2A02:8108:AAAA",)),
    ("ipv6 in brackets", "http://[2a02:8108:cccc::25]:8000/v1\n", ("2a02:8108:cccc",)),
    ("ipv6 network", "2a02:8108:dddd::/48 dev eth0 metric 256\n", ("2a02:8108:dddd",)),
    ("ipv6 unique local", "nameserver fd12:3456:789a:1::1\n", ("fd12:3456:789a",)),
    ("ipv6 with a zone", "ping fe80::a00:27ff:fe4e:66a1%eth0\n", ("a00:27ff:fe4e:66a1",)),
    ("ipv6 in proc", "2a028108aaaabbbb0000000000000017 02 40 00 80     eth0\n", ("2a028108aaaabbbb",)),
    ("ipv6 reversed", "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.b.b.b.a.a.a.a.8.0.1.8.2.0.a.2.ip6.arpa\n",
     ("b.b.b.b.a.a.a.a.8.0.1.8.2.0.a.2",)),
    ("filesystem uuid", "UUID=9f1c2d3e-4b5a-6978-8a9b-0c1d2e3f4a5b / ext4\nUUID=7A3C-91FE /boot/efi vfat\n",
     ("9f1c2d3e-4b5a", "7A3C-91FE")),
    ("root on the kernel line", "root=UUID=1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d ro quiet\n", ("1a2b3c4d-5e6f",)),
    ("lvm uuid", "  VG UUID               aB3dE5-fG7h-I9jK-lM1n-oP3q-R5sT-uV7wX9\n", ("aB3dE5-fG7h-I9jK",)),
    ("disk identifier", "Disk identifier: 4F3E2D1C-6B5A-4978-8796-A5B4C3D2E1F0\n", ("4F3E2D1C-6B5A",)),
    ("boot id in the journal", "_BOOT_ID=0123456789abcdef0123456789abcdee\n", ("0123456789abcdef0123456789abcdee",)),
)  # fmt: skip
