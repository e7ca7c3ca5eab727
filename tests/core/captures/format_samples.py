"""A small file of each text format, written from its grammar, with the frames that are in it."""

from dataclasses import dataclass

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from tests.core.captures.capture_strategies import Frame


@dataclass(frozen=True)
class Sample:
    """Lines of one format, the frames in them, and what is set aside."""

    format: str
    lines: tuple[str, ...]
    frames: tuple[Frame, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    """(bad line, reason), to be put behind the good ones."""
    attacks: tuple[str, ...] = ()
    time: str = "relative"


B8 = bytes.fromhex("0102030405060708")
BIT = "a payload byte is not two hexadecimal digits"
SAMPLES = {
    "hcrl-csv": Sample(
        "hcrl-csv",
        (
            "1478198376.389427,0316,8,01,02,03,04,05,06,07,08,R",
            "1478198376.389636,018f,2,fe,5b,T",
            "1478198376.39,018f,2,fe,5b,R,,,,,,",
            "1478198376.4,0000,0,T",
            "1478198376.5,18fef100,1,0A,R",
        ),
        (
            (1478198376.389427, 0x316, 0, 8, B8, 0),
            (1478198376.389636, 0x18F, 0, 2, b"\xfe\x5b", 1),
            (1478198376.39, 0x18F, 0, 2, b"\xfe\x5b", 0),
            (1478198376.4, 0, 0, 0, b"", 1),
            (1478198376.5, 0x18FEF100, EXTENDED, 1, b"\x0a", 0),
        ),
        (
            ("1478198376.6,0316,2,01,R", "fewer bytes than the DLC says"),
            ("1478198376.6,0316,9,01,R", "DLC is not 0 to 8"),
            (
                "1478198376.6,0316,1,01,X",
                "more bytes than the DLC says, or a flag that is not R or T",
            ),
            ("1478198376.6,3.16E+05,1,01,R", "id was turned into a number by a spreadsheet"),
            ("1478198376.6,0316,1,1,R", BIT),
            ("1478198376.6,0316", "fewer than 3 columns"),
            (",0316,0,R", "timestamp is missing"),
        ),
        ("capture",),
        "absolute",
    ),
    "hcrl-challenge": Sample(
        "hcrl-challenge",
        (
            "Timestamp,Arbitration_ID,DLC,Data,Class,SubClass",
            "1597759710.1258,153,8,01 02 03 04 05 06 07 08,Normal,Normal",
            "1597759710.1259,0,2,00 FF,Attack,Flooding",
            "1597759710.126,7FF,0,,Attack,Fuzzing",
            "1597759710.127,8A,1,1f,Attack,Flooding",
        ),
        (
            (1597759710.1258, 0x153, 0, 8, B8, 0),
            (1597759710.1259, 0, 0, 2, b"\x00\xff", 1),
            (1597759710.126, 0x7FF, 0, 0, b"", 1),
            (1597759710.127, 0x8A, 0, 1, b"\x1f", 1),
        ),
        (
            ("1.5,153,1,01 02,Normal,Normal", "more bytes than the DLC says"),
            ("1.5,153,3,01 02,Normal,Normal", "fewer bytes than the DLC says"),
            ("1.5,153,1,01,Odd,Normal", "label is not understood"),
            ("1.5,153,1,01", "not 6 columns"),
        ),
        ("Flooding", "Fuzzing"),
        "absolute",
    ),
    "gvret-csv": Sample(
        "gvret-csv",
        (
            "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8",
            "7254438300,000007DF,false,Rx,1,8,01,02,03,04,05,06,07,08",
            "7254438500,7DF,FALSE,Rx,1,2,0A,FF",
            "7254438800,00000123,true,Rx,1,2,0A,FF,,,,,,,",
            "7254439000,18FEF100,0,Rx,1,0,",
            "7254439300,18FEF100,1,Tx,1,1,0B,",
        ),
        (
            (7254.4383, 0x7DF, 0, 8, B8, 0),
            (7254.4385, 0x7DF, 0, 2, b"\x0a\xff", 0),
            (7254.4388, 0x123, EXTENDED, 2, b"\x0a\xff", 0),
            (7254.439, 0x18FEF100, EXTENDED, 0, b"", 0),
            (7254.4393, 0x18FEF100, EXTENDED, 1, b"\x0b", 0),
        ),
        (
            (
                "7254439300,2.00E+06,false,Rx,1,1,0B",
                "id was turned into a number by a spreadsheet",
            ),
            ("7254439300,200,maybe,Rx,1,1,0B", "Extended is not true, false, 0 or 1"),
            ("7254439300,200,false,Rx,1,2,0B", "fewer bytes than the DLC says"),
            ("7254439300,200,false,Rx,1,1,B", BIT),
            ("7254439300,200,false", "not 14 columns"),
            ("7254439300,200,false,Rx,1,65,00", "DLC is not 0 to 64"),
        ),
    ),
    "otids": Sample(
        "otids",
        (
            "Timestamp:     0.690329        ID: 0153    000    DLC: 8    01 02 03 04 05 06 07 08",
            "Timestamp:          0.690529        ID: 0153    100    DLC: 8",
            "0.7        0380    000    2    30 bb",
            "0.8        18fef100    000    0",
        ),
        (
            (0.690329, 0x153, 0, 8, B8, 0),
            (0.690529, 0x153, REMOTE, 8, b"", 0),
            (0.7, 0x380, 0, 2, b"\x30\xbb", 0),
            (0.8, 0x18FEF100, EXTENDED, 0, b"", 0),
        ),
        (
            ("0.9        0380    000    2    30 b", BIT),
            ("0.9        0380    000    2    30", "fewer bytes than the DLC says"),
            ("0.9        0380    000    1    30 bb", "more bytes than the DLC says"),
            ("0.9        0380    010    1    30", "flag is not 000 or 100"),
            ("rubbish", "not an OTIDS line"),
        ),
    ),
    "ciciov2024": Sample(
        "ciciov2024",
        (
            "ID,DATA_0,DATA_1,DATA_2,DATA_3,DATA_4,DATA_5,DATA_6,DATA_7,label,category,specific_class",
            "65,1,2,3,4,5,6,7,8,BENIGN,BENIGN,BENIGN",
            "513,0,0,0,0,0,0,0,255,ATTACK,SPOOFING,GAS",
            "4095,0,0,0,0,0,0,0,255,ATTACK,DoS,DoS",
        ),
        (
            (0.0, 65, 0, 8, B8, 0),
            (0.0, 513, 0, 8, b"\0\0\0\0\0\0\0\xff", 1),
            (0.0, 4095, EXTENDED, 8, b"\0\0\0\0\0\0\0\xff", 1),
        ),
        (
            ("513,0,0,0,0,0,0,0,256,ATTACK,SPOOFING,GAS", "byte is beyond 255"),
            ("2FF,0,0,0,0,0,0,0,25,ATTACK,SPOOFING,GAS", "id is not a decimal number"),
            ("513,0,0,0,0,0,0,0,25,MAYBE,SPOOFING,GAS", "label is not understood"),
            ("513,0,0,0,0,0,0,0,25", "not 12 columns"),
        ),
        ("SPOOFING GAS", "DoS"),
        "missing",
    ),
    "j1939-csv": Sample(
        "j1939-csv",
        (
            "timestamp,iface,can_id,dlc,data,pgn_label,label",
            "0.0,can0,217058307,8,0102030405060708,Electronic,normal",
            '0.000536,can0,419356416,1,FF,"Engine, and more",high_torque',
        ),
        (
            (0.0, 217058307, EXTENDED, 8, B8, 0),
            (0.000536, 419356416, EXTENDED, 1, b"\xff", 1),
        ),
        (
            ("0.1,can0,217058307,2,01,x,normal", "payload is not as long as the DLC says"),
            ("0.1,can0,0CF00300,1,01,x,normal", "id is not a decimal number"),
            ("0.1,can0,1,1,01,x,", "label is missing"),
            ('0.1,can0,1,1,01,"x,normal', "quotes do not match"),
            ("0.1,can0,4000000000,1,01,x,normal", "id is beyond 29 bits"),
        ),
        ("high_torque",),
    ),
    "daga": Sample(
        "daga",
        (
            "timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY",
            "0.0,1D0,64,102030405060708,1000,FALSE",
            "9e-06,290.0,8,8,1000,False",
            "0.1,1D0,16,1D0,111010000,True",
        ),
        (
            (0.0, 0x1D0, 0, 8, B8, 0),
            (9e-06, 0x290, 0, 1, b"\x08", 0),
            (0.1, 0x1D0, 0, 2, b"\x01\xd0", 1),
        ),
        (
            ("0.2,1D0,7,1,1,True", "DLC is not 0 to 64 bits in steps of 8"),
            ("0.2,1D0,8,1D0,1,True", "payload is longer than the DLC says"),
            ("0.2,1D0,8,1,1,maybe", "label is not understood"),
        ),
        ("capture",),
    ),
    "candump-console": Sample(
        "candump-console",
        (
            " (000.000536)  can0  18FCF200   [8]  01 02 03 04 05 06 07 08",
            " (000.1)  can0  123   [2]  remote request",
            " (000.2)  can0  20000004   [8]  01 02 03 04 05 06 07 08   ERRORFRAME",
            " (000.3)  can0  123  [12]  01 02 03 04 05 06 07 08 01 02 03 04",
            " (000.4)  can0  123   [0]",
        ),
        (
            (0.000536, 0x18FCF200, EXTENDED, 8, B8, 0),
            (0.1, 0x123, REMOTE, 2, b"", 0),
            (0.2, 4, ERROR, 8, B8, 0),
            (0.3, 0x123, FD, 12, B8 + B8[:4], 0),
            (0.4, 0x123, 0, 0, b"", 0),
        ),
        (
            ("$ candump can0", "not a candump line"),
            (" (0.5)  can0  123   [2]  01", "fewer bytes than the DLC says"),
            (" (0.5)  can0  123   [1]  01 02", "more bytes than the length says"),
            (" (0.5)  can0  1234   [1]  01", "id is not 3 or 8 hexadecimal digits"),
            (" (0.5)  can0  800   [1]  01", "standard id is beyond 11 bits"),
        ),
    ),
    "vector-asc": Sample(
        "vector-asc",
        (
            "date Sam Sep 30 15:06:13.191 2017",
            "base hex  timestamps absolute",
            "internal events logged",
            "// version 9.0.0",
            "Begin Triggerblock Sam Sep 30 15:06:13.191 2017",
            "   2.501000 1 ErrorFrame ECC: 10100010",
            "   2.584921 1 300              Tx   r 8 Length = 1704000 BitCount = 145",
            "   3.098426 1  18EBFF00x       Rx   d 8 01 02 03 04 05 06 07 08  Length = 273910",
            "   3.2 1  F4\tRx   d D 01 02 03 04 05 06 07 08",
            "  30.005071 CANFD   1 Rx  300  Nm  1 0 9 12 01 02 03 04 05 06 07 08 01 02 03 04 1 2",
            "End TriggerBlock",
        ),
        (
            (2.501, 0, ERROR, 0, b"", 0),
            (2.584921, 0x300, REMOTE, 8, b"", 0),
            (3.098426, 0x18EBFF00, EXTENDED, 8, B8, 0),
            (3.2, 0xF4, 0, 8, B8, 0),
            (30.005071, 0x300, FD, 12, B8 + B8[:4], 0),
        ),
        (
            ("   3.2 1  F4  Rx   d 2 01", "fewer bytes than the DLC says"),
            ("   3.2 1  F4  Rx   d 1 0G", "payload is not made of bytes"),
            ("   3.2 1  F4  Rx   d -2 01", "DLC is not a number"),
            ("   3.2 1  800  Rx   d 1 01", "id is beyond 11 bits"),
            ("   3.2 1  F4  Rx   q 1 01", "frame is not understood"),
            ("rubbish", "not an ASC line"),
        ),
    ),
    "peak-trc": Sample(
        "peak-trc",
        (
            ";$FILEVERSION=2.1",
            ";$STARTTIME=25569.5",
            ";$COLUMNS=N,O,T,B,I,d,R,L,D",
            "      1     17535.500 DT 1  00000100 Tx -  8    01 02 03 04 05 06 07 08",
            "      2     17540.500 RR 1      0704 Rx -  1",
            "      3     17541.500 FD 1      0704 Rx -  9    01 02 03 04 05 06 07 08 01 02 03 04",
            "      4     17542.500 ER 1         - Rx -  5    04 00 02 00 00",
            "      5     17543.500 ST 1         - Rx -  4    00 00 00 08",
        ),
        (
            (43217.5355, 0x100, EXTENDED, 8, B8, 0),
            (43217.5405, 0x704, REMOTE, 1, b"", 0),
            (43217.5415, 0x704, FD, 12, B8 + B8[:4], 0),
            (43217.5425, 0, ERROR, 0, b"", 0),
        ),
        (
            ("  6     17544.000 DT 1      0704 Rx -  2    00", "fewer bytes than the DLC says"),
            ("  6     17544.000 XX 1      0704 Rx -  1    00", "message type is not known"),
            ("  6     17544.000 DT 1      0800 Rx -  1    00", "standard id is beyond 11 bits"),
            ("rubbish", "not a TRC line"),
        ),
    ),
    "canhacker-trc": Sample(
        "canhacker-trc",
        (
            "Time   ID     DLC Data                    Comment",
            "58,876 070      8 01 02 03 04 05 06 07 08 ",
            "59.5 18EA0003 1 BE",
            "00,25 070      0",
        ),
        (
            (58.876, 0x70, 0, 8, B8, 0),
            (59.5, 0x18EA0003, EXTENDED, 1, b"\xbe", 0),
            (60.25, 0x70, 0, 0, b"", 0),
        ),
        (
            ("00,5 070      2 01", "fewer bytes than the DLC says"),
            ("rubbish", "not a CanHacker line"),
        ),
    ),
    "crtd": Sample(
        "crtd",
        (
            "100.602 CXX Info Type:crtd; Version:3.1",
            "101.562 1T11 7DF 01 02 03 04 05 06 07 08",
            "102.1 1R29 18DB33F1 02",
            "102.2 CEV Event vehicle.on",
            "103 1R29 1F",
        ),
        (
            (101.562, 0x7DF, 0, 8, B8, 0),
            (102.1, 0x18DB33F1, EXTENDED, 1, b"\x02", 0),
            (103.0, 0x1F, EXTENDED, 0, b"", 0),
        ),
        (
            ("104.0 1R11 800 02", "standard id is beyond 11 bits"),
            ("104.0 1R11 7DF 02 3", BIT),
            ("104.0 1R12 7DF 02", "not a CRTD record"),
            ("104.0 1R11 7DF" + " 00" * 9, "payload is longer than 8 bytes"),
        ),
    ),
    "battery-emulator": Sample(
        "battery-emulator",
        (
            "(683.70) RX0 7E0 [8] 01 02 03 04 05 06 07 08",
            "(683.71) TX0 18FF1234 [2] 01 02",
        ),
        (
            (683.70, 0x7E0, 0, 8, B8, 0),
            (683.71, 0x18FF1234, EXTENDED, 2, b"\x01\x02", 0),
        ),
        (
            ("00 00 8] 01", "not a Battery-Emulator line"),
            ("(683.72) RX0 7E0 [2] 01", "fewer bytes than the DLC says"),
            ("(683.72) RX0 7E0 [1] 01 02", "more bytes than the length says"),
        ),
    ),
    "candump": Sample(
        "candump",
        ("(1.5) can0 123#0102030405060708", "(1.75) can0 00000123#R8"),
        ((1.5, 0x123, 0, 8, B8, 0), (1.75, 0x123, EXTENDED | REMOTE, 8, b"", 0)),
    ),
    "can-train-and-test-csv": Sample(
        "can-train-and-test-csv",
        ("timestamp,arbitration_id,data_field,attack", "1.5,2C0,0102030405060708,0", "1.75,000,,1"),
        ((1.5, 0x2C0, 0, 8, B8, 0), (1.75, 0, 0, 0, b"", 1)),
        attacks=("capture",),
    ),
}
