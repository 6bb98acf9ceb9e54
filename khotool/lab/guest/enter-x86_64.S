# The last page of the ROM below 4 GiB: from the reset vector to a kernel's 64-bit entry.
#
# Three words at offset 0xf80 are its parameters, written by khotool (see lab/x86_64.py):
# the page table, boot_params, the entry. The kernel is entered as boot.rst asks: long mode, flat
# segments at 0x10 and 0x18, identity mapping, interrupts off, rsi = boot_params.
    .set BASE, 0xfffff000
    .set PARAMETERS, 0xffffff80
    .code16
    .org 0
start16:
    cli
    lgdtl %cs:(0xf000 + gdtr - start16)   # the code segment begins at 0xffff0000
    movl %cr0, %eax
    orl $1, %eax                # PE
    movl %eax, %cr0
    ljmpl $0x08, $(BASE + (start32 - start16))
    .code32
start32:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $0x20, %eax            # PAE
    movl %eax, %cr4
    movl (PARAMETERS), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      # EFER
    rdmsr
    orl $0x100, %eax            # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax       # PG, PE
    movl %eax, %cr0
    ljmpl $0x10, $(BASE + (start64 - start16))
    .code64
start64:
    movl $PARAMETERS, %ebx
    movq 8(%rbx), %rsi
    movq 16(%rbx), %rax
    jmp *%rax
    .align 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff    # 0x08: 32-bit code
    .quad 0x00af9a000000ffff    # 0x10: 64-bit code
    .quad 0x00cf92000000ffff    # 0x18: data
gdtr:
    .word 31
    .long BASE + (gdt - start16)
    .org 0xff0
    .code16
    jmp start16
    .org 0x1000
