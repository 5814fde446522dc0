! Heat in a plate, as simulations of this kind are: it knows no signals (SIGTERM is ignored), and writes where it is now
! and then. Told to end, it computes on until it is killed, and the next machine goes on from the last of its states.
!
!     gfortran -O2 -static-libgfortran -o heat heat.f90 && ./heat
!
! A state is written beside the old one and renamed over it, so that one of them is always whole.
program heat
    implicit none
    integer, parameter :: n = 256, steps = 2400, every = 100, sigterm = 15, ignore = 1
    real(8) :: now(n, n), next(n, n)
    integer :: step, begin, unit, failed
    logical :: there

    call signal(sigterm, ignore)
    begin = 0
    now = 0d0
    now(:, 1) = 100d0
    inquire(file="state.bin", exist=there)
    if (there) then
        open(newunit=unit, file="state.bin", form="unformatted", action="read")
        read(unit) begin, now
        close(unit)
    end if

    next = now
    do step = begin + 1, steps
        next(2:n-1, 2:n-1) = 0.25d0 * (now(1:n-2, 2:n-1) + now(3:n, 2:n-1) + now(2:n-1, 1:n-2) + now(2:n-1, 3:n))
        now = next
        if (mod(step, every) == 0) then
            open(newunit=unit, file="state.unfinished", form="unformatted", action="write", status="replace")
            write(unit) step, now
            close(unit)
            call rename("state.unfinished", "state.bin", failed)
            if (failed /= 0) stop "the state could not be renamed"
            print "('step ', i0, ' of ', i0)", step, steps
            flush(6)
            call pace()
        end if
    end do
    print "('result ', z16.16)", transfer(sum(now(2:n-1, 2:n-1)), 0_8)

contains

    ! Only so that there is time to interrupt so small a job: PACE, in whole seconds, for every 100 steps.
    subroutine pace()
        character(len=8) :: text
        integer :: length, wrong, seconds
        call get_environment_variable("PACE", text, length)
        read(text, *, iostat=wrong) seconds
        if (length > 0 .and. wrong == 0) call sleep(seconds)
    end subroutine
end program
