"""The laboratory: real kernels, under QEMU, as the source and the judge of handover images.

``kernelfile`` recognises what a file holds, ``machines`` lays a guest's memory out, ``qemu`` runs
it, ``console`` and ``facts`` read what it says. ``capture`` and ``boot`` are the two experiments;
``outcome`` judges the second, ``conformance`` is a series of both. All that the room wants from
the rest of the program goes through ``bridge``. ``guest/`` is what runs inside.

May be imported by ``cli`` and ``render``.
"""
