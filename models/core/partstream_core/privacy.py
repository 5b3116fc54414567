"""Turns off telemetry of OpenVINO and ONNX Runtime.

OpenVINO reports that it was imported, ONNX Runtime reports the machine and the models, both over the network
and unless told not to. Nobody who parses video of people agreed to that.
"""

import os
import sys


def keep_runtimes_silent() -> None:
    """Turn off what OpenVINO and ONNX Runtime report; call it before either is imported.

    Whoever wants the reports sets ORT_DISABLE_TELEMETRY=0 in the environment.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenVINO stays silent where its telemetry package cannot be imported, so that is what it finds.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
