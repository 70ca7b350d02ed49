"""A result as JUnit XML, for continuous integration only: it cannot carry an uncertainty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot say."""

FAILURE_TYPE: Final = {"FAIL": "nonconforming", "INDETERMINATE": "indeterminate"}


def junit(result: Mapping[str, Any]) -> bytes:
    """One test case per requirement, link and direction; one per requirement of an acceptance, never one per port.

    PASS passes; FAIL and INDETERMINATE are failures of their own types, so that no CI takes either for a success;
    INVALID is an error.
    """
    suite = ET.Element("testsuite", name="millicert")
    counts = {"tests": 0, "failures": 0, "errors": 0}
    for requirement in result["requirements"]:
        for each in requirement["directions"]:
            counts["tests"] += 1
            case = ET.SubElement(suite, "testcase", classname=requirement["id"], name=f"{each['link']} {each['label']}")
            verdict = each["verdict"]
            if verdict in FAILURE_TYPE:
                counts["failures"] += 1
                ET.SubElement(case, "failure", type=FAILURE_TYPE[verdict], message=each["reason_en"])
            elif verdict != "PASS":
                counts["errors"] += 1
                ET.SubElement(case, "error", type="invalid", message=each["reason_en"])
    for row in (result.get("acceptance") or {}).get("requirements", ()):
        counts["tests"] += 1
        case = ET.SubElement(suite, "testcase", classname=row["id"], name=row["figure"])
        if row["verdict"] in FAILURE_TYPE:
            counts["failures"] += 1
            ET.SubElement(case, "failure", type=FAILURE_TYPE[row["verdict"]], message=row["reason_en"])
        elif row["verdict"] != "PASS":
            counts["errors"] += 1
            ET.SubElement(case, "error", type="invalid", message=row["reason_en"])
    if not result["complete"]:
        counts["tests"] += 1
        counts["errors"] += 1
        case = ET.SubElement(suite, "testcase", classname="plan", name="complete")
        ET.SubElement(case, "error", type="incomplete", message="; ".join(result["incomplete_reasons"]))
    for name, count in counts.items():
        suite.set(name, str(count))
    properties = ET.Element("properties")
    for fact in result["simulated"]:
        ET.SubElement(properties, "property", name="simulated", value=fact)
    suite.insert(0, properties)
    for each in suite.iter():
        for key, text in each.attrib.items():
            each.set(key, ILLEGAL.sub("\ufffd", text))
    ET.indent(suite)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"
