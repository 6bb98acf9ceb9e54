// A kernel for kexec_file_load that ends the capture: it switches the machine off.
//
// It is an Image as Documentation/arch/arm64/booting.rst has it. The device tree's address, x0, is
// kept behind the mark.
    b start
    .word 0
    .quad 0                     // text_offset
    .quad 0x10000               // image_size
    .quad 0x8                   // flags: little-endian, any page size, anywhere in memory
    .quad 0
    .quad 0
    .quad 0
    .ascii "ARM\x64"
    .word 0
start:
    adr x9, mark
    str x0, [x9, #8]
    movz w0, #0x0008            // PSCI SYSTEM_OFF
    movk w0, #0x8400, lsl #16
    hvc #0
1:  wfi
    b 1b
    .align 4
mark:
    .ascii "KHOSTOP!"
    .quad 0
    .org 0x1000
