# A kernel for kexec_file_load that ends the capture: it leaves QEMU at once.
#
# It is a bzImage as Documentation/arch/x86/boot.rst has it, of one setup sector and one page.
# Its 64-bit entry writes to the port of QEMU's isa-debug-exit; memory stays as the next kernel
# would find it. boot_params' address is kept behind the mark.
    .code64
    .org 0x1f1
    .byte 1                     # setup_sects
    .org 0x1fe
    .word 0xaa55                # boot_flag
    .byte 0xeb, 0x66            # jump over the header
    .ascii "HdrS"
    .word 0x020f                # version 2.15
    .org 0x211
    .byte 1                     # loadflags: LOADED_HIGH
    .org 0x214
    .long 0x100000              # code32_start
    .org 0x22c
    .long 0x7fffffff            # initrd_addr_max
    .long 0x200000              # kernel_alignment
    .byte 1                     # relocatable_kernel
    .byte 21                    # min_alignment
    .word 0x3f                  # xloadflags: 64-bit entry, above 4G, EFI, 5-level paging
    .long 2047                  # cmdline_size
    .org 0x258
    .quad 0x1000000             # pref_address
    .long 0x10000               # init_size
    .org 0x400                  # protected-mode part
    .org 0x400 + 0x200          # its 64-bit entry
    leaq mark(%rip), %rbx
    movq %rsi, 8(%rbx)
    movl $0x10, %eax
    movw $0xf4, %dx
    outl %eax, %dx
1:  hlt
    jmp 1b
    .align 16
mark:
    .ascii "KHOSTOP!"
    .quad 0
    .org 0x1000
