;; y = W x + b for examples one after another, eight outputs at a time, four examples at once while so many are left.
;;
;; The weights lie in blocks of eight outputs: their eight biases, then for every input its eight weights. An output
;; is a lane of a vector, and so nothing has to be summed across lanes and the inputs need no padding.
;;
;; All places and distances are in bytes. `step` leads from one input of an example to the next, `stride` from an
;; example to the next, `row` from the outputs of an example to those of the next: 4 and 4 N for flat examples, and 4
;; H W and 4 for the pixels of an image whose channels are the inputs.
(module
  (memory (export "memory") 1)
  (func (export "dense")
    (param $x i32) (param $step i32) (param $stride i32) (param $inputs i32) (param $weights i32)
    (param $y i32) (param $row i32) (param $blocks i32) (param $examples i32)
    (local $left i32) (local $from i32) (local $to i32) (local $w i32) (local $n i32)
    (local $p0 i32) (local $p1 i32) (local $p2 i32) (local $p3 i32)
    (local $lower v128) (local $upper v128) (local $value v128)
    (local $a0 v128) (local $b0 v128) (local $a1 v128) (local $b1 v128)
    (local $a2 v128) (local $b2 v128) (local $a3 v128) (local $b3 v128)
    (block $done
      (loop $block
        (br_if $done (i32.eqz (local.get $blocks)))
        (local.set $left (local.get $examples))
        (local.set $from (local.get $x))
        (local.set $to (local.get $y))

        (block $few
          (loop $four
            (br_if $few (i32.lt_s (local.get $left) (i32.const 4)))
            (local.set $p0 (local.get $from))
            (local.set $p1 (i32.add (local.get $p0) (local.get $stride)))
            (local.set $p2 (i32.add (local.get $p1) (local.get $stride)))
            (local.set $p3 (i32.add (local.get $p2) (local.get $stride)))
            (local.set $from (i32.add (local.get $p3) (local.get $stride)))
            (local.set $a0 (v128.load (local.get $weights)))
            (local.set $b0 (v128.load offset=16 (local.get $weights)))
            (local.set $a1 (local.get $a0)) (local.set $b1 (local.get $b0))
            (local.set $a2 (local.get $a0)) (local.set $b2 (local.get $b0))
            (local.set $a3 (local.get $a0)) (local.set $b3 (local.get $b0))
            (local.set $w (i32.add (local.get $weights) (i32.const 32)))
            (local.set $n (local.get $inputs))
            (loop $input
              (local.set $lower (v128.load (local.get $w)))
              (local.set $upper (v128.load offset=16 (local.get $w)))
              (local.set $value (v128.load32_splat (local.get $p0)))
              (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $value) (local.get $lower))))
              (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $value) (local.get $upper))))
              (local.set $value (v128.load32_splat (local.get $p1)))
              (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $value) (local.get $lower))))
              (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $value) (local.get $upper))))
              (local.set $value (v128.load32_splat (local.get $p2)))
              (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $value) (local.get $lower))))
              (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $value) (local.get $upper))))
              (local.set $value (v128.load32_splat (local.get $p3)))
              (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $value) (local.get $lower))))
              (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $value) (local.get $upper))))
              (local.set $p0 (i32.add (local.get $p0) (local.get $step)))
              (local.set $p1 (i32.add (local.get $p1) (local.get $step)))
              (local.set $p2 (i32.add (local.get $p2) (local.get $step)))
              (local.set $p3 (i32.add (local.get $p3) (local.get $step)))
              (local.set $w (i32.add (local.get $w) (i32.const 32)))
              (br_if $input (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (v128.store (local.get $to) (local.get $a0))
            (v128.store offset=16 (local.get $to) (local.get $b0))
            (local.set $to (i32.add (local.get $to) (local.get $row)))
            (v128.store (local.get $to) (local.get $a1))
            (v128.store offset=16 (local.get $to) (local.get $b1))
            (local.set $to (i32.add (local.get $to) (local.get $row)))
            (v128.store (local.get $to) (local.get $a2))
            (v128.store offset=16 (local.get $to) (local.get $b2))
            (local.set $to (i32.add (local.get $to) (local.get $row)))
            (v128.store (local.get $to) (local.get $a3))
            (v128.store offset=16 (local.get $to) (local.get $b3))
            (local.set $to (i32.add (local.get $to) (local.get $row)))
            (local.set $left (i32.sub (local.get $left) (i32.const 4)))
            (br $four)))

        (block $none
          (loop $one
            (br_if $none (i32.eqz (local.get $left)))
            (local.set $p0 (local.get $from))
            (local.set $from (i32.add (local.get $from) (local.get $stride)))
            (local.set $a0 (v128.load (local.get $weights)))
            (local.set $b0 (v128.load offset=16 (local.get $weights)))
            (local.set $w (i32.add (local.get $weights) (i32.const 32)))
            (local.set $n (local.get $inputs))
            (loop $input
              (local.set $value (v128.load32_splat (local.get $p0)))
              (local.set $a0
                (f32x4.add (local.get $a0) (f32x4.mul (local.get $value) (v128.load (local.get $w)))))
              (local.set $b0
                (f32x4.add (local.get $b0) (f32x4.mul (local.get $value) (v128.load offset=16 (local.get $w)))))
              (local.set $p0 (i32.add (local.get $p0) (local.get $step)))
              (local.set $w (i32.add (local.get $w) (i32.const 32)))
              (br_if $input (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (v128.store (local.get $to) (local.get $a0))
            (v128.store offset=16 (local.get $to) (local.get $b0))
            (local.set $to (i32.add (local.get $to) (local.get $row)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $one)))

        (local.set $weights
          (i32.add (local.get $weights) (i32.shl (i32.add (local.get $inputs) (i32.const 1)) (i32.const 5))))
        (local.set $y (i32.add (local.get $y) (i32.const 32)))
        (local.set $blocks (i32.sub (local.get $blocks) (i32.const 1)))
        (br $block)))))
