"""What losing a file means to the guest or service that it belongs to."""

from __future__ import annotations

CONSEQUENCES = (
    ("memfd", "its memory is lost, and a guest that runs from it has to be restarted"),
    ("guest_memfd", "the private memory of a guest is lost, and the guest has to be restarted"),
    ("huge-memfd", "its memory is lost, and a guest that runs from it has to be restarted"),
    ("vfio", "the device is reset, and the guest loses what the device was doing"),
    ("iommufd", "DMA mappings are lost: devices of the guest have to be stopped and mapped again"),
    ("kvm_vcpu", "a virtual CPU is lost, and the guest has to be restarted"),
    ("kvm_vm", "the virtual machine is lost, and the guest has to be restarted"),
    ("tmpfs", "files of that mount are lost"),
    ("eventfd", "pending events are lost, and the VMM has to connect it again"),
    ("netkit", "the network device is created again, and connections may break"),
)
"""By how the string of a handler begins."""
REST = "its state is lost, and retrieving it fails"


def consequence(handler: str) -> str:
    """Of a file that a handler does not bring back; half a sentence."""
    return next((text for begin, text in CONSEQUENCES if handler.startswith(begin)), REST)
